"""The words by which upstreams say why an answer ended. Pure.

Sources: OpenAI's, Anthropic's, Gemini's and Ollama's documents; vLLM (`FinishReason`), Mistral (`model_length`), text
generation inference (`eos_token`, `stop_sequence`), Zhipu (`sensitive`). They are compared without case, since proxies
pass on a word of one API under another one's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from shared.types import FinishReason

_WORDS: Final[dict[FinishReason, str]] = {
    "stop": "stop stop_sequence stop_token eos eos_token end end_turn end_of_turn done complete completed normal "
    "<|im_end|> <|endoftext|> <|eot_id|> <end_of_turn> </s>",
    # `limit` is Ollama's full context. Anthropic's `pause_turn` asks to be called again, and comes of server tools
    # only, which are never sent: nobody admitted a second call, so the answer is one that is not complete.
    "length": "length limit max_length max_tokens max_output_tokens model_length model_context_window_exceeded "
    "context_length token_limit repetition continuation pause_turn",
    "tool_calls": "tool_calls tool_call tool_use",
    "function_call": "function_call",
    "content_filter": "content_filter content_filtered refusal sensitive safety recitation blocklist "
    "prohibited_content spii language escalation image_safety image_recitation image_prohibited_content "
    "guardrail_intervened model_armor",
}
_REASONS: Final = {word: reason for reason, words in _WORDS.items() for word in words.split()}


def finish_reason(word: str, *, has_calls: bool) -> FinishReason | None:
    """Return what an upstream's word for the end of an answer means; None where it means a failure, or is unknown.

    An answer with calls that ended by itself waits for their results, whatever its word: agents stop at `stop`. One
    without calls waits for none: agents wait for ever at `tool_calls`.

    Args:
        word: the upstream's.
        has_calls: whether the answer called tools.
    """
    # As it is first: nearly every word is in small letters already.
    reason = _REASONS.get(word) or _REASONS.get(word.lower())
    if reason == "stop" and has_calls:
        return "tool_calls"
    return "stop" if reason in {"tool_calls", "function_call"} and not has_calls else reason
