"""The words by which upstreams say why an answer ended. Pure.

Sources: OpenAI's, Anthropic's, Gemini's and Ollama's documents; vLLM (`FinishReason`), Mistral (`model_length`), text
generation inference (`eos_token`, `stop_sequence`), Zhipu (`sensitive`), LM Studio (`eosFound`), Cohere (`COMPLETE`),
watsonx (`time_limit`), DeepSeek (`insufficient_system_resource`). They are compared by their letters and digits alone,
since proxies pass on a word of one API under another one's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from shared.types import MOST_NAME_CHARS

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
_NOT_OF_WORDS: Final = re.compile(r"[^a-z0-9]|^(?:finish_?|stop_?)?reason_?")
_BY_LETTERS: Final = {_NOT_OF_WORDS.sub("", word): reason for word, reason in _REASONS.items()}
_FAILURES: Final = re.compile(
    "error|fail|fault|abort|cancel|interrupt|kill|crash|timeout|timedout|exception|disconnect|malformed|invalid"
    "|unexpected|unavailable|insufficient|overload|exhaust|throttl|toomany|missing|noimage|other|unspecified|unknown"
    "|unload|^load$|disabled|incomplete|notfinished"
)
_SEEN: Final[dict[FinishReason, re.Pattern[str]]] = {
    "length": re.compile("length|limit|max|exceed|truncat"),
    "content_filter": re.compile("filter|safety|moderat|prohibit|refus|block|sensitive|policy"),
    "tool_calls": re.compile("tool|function"),
}
_OF_GOOGLE: Final = (
    "", "stop", "max_tokens", "safety", "recitation", "other", "language", "blocklist", "prohibited_content", "spii",
    "malformed_function_call",
)  # fmt: skip
"""By Google's numbers, which its SDKs for Python write in place of words."""
_PLACES: Final = ("type", "reason", "finish_reason", "stop_reason", "name", "value", "kind")


def finish_reason(word: str, *, has_calls: bool, unknown: FinishReason | None = None) -> FinishReason | None:
    """Return what an upstream's word for the end of an answer means; None where it means a failure.

    An answer with calls that ended by itself waits for their results, whatever its word: agents stop at `stop`. One
    without calls waits for none: agents wait for ever at `tool_calls`.

    Args:
        word: the upstream's.
        has_calls: whether the answer called tools.
        unknown: what a word means that nobody knows, and that does not look like one for a failure: that of an API
            with a list of words may be new, and those of the many servers of OpenAI's API are beyond counting.
    """
    # As it is first: nearly every word is in small letters already.
    reason = _REASONS.get(word) or _by_letters(word, unknown)
    if reason == "stop" and has_calls:
        return "tool_calls"
    return "stop" if reason in {"tool_calls", "function_call"} and not has_calls else reason


def _by_letters(word: str, unknown: FinishReason | None) -> FinishReason | None:
    letters = _NOT_OF_WORDS.sub("", word[:MOST_NAME_CHARS].lower())
    if letters.isdecimal():
        # int() refuses some thousand digits.
        letters = _NOT_OF_WORDS.sub("", to_word(int(letters[:9])) or "")
    known = _BY_LETTERS.get(letters)
    if known is not None or unknown is None or not letters or _FAILURES.search(letters):
        return known
    return next((reason for reason, seen in _SEEN.items() if seen.search(letters)), unknown)


def to_word(value: Any) -> str | None:
    """Return the word for an end that came as JSON of another type; None where it is none."""
    if isinstance(value, list):
        return to_word(value[0]) if value else None
    if isinstance(value, dict):
        return next((found for place in _PLACES if (found := to_word(value.get(place)))), None)
    if value is True:
        return "stop"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _OF_GOOGLE[int(value)] if 0 <= value < len(_OF_GOOGLE) else "unknown"
    return value if isinstance(value, str) else None


End = Annotated[str, msgspec.Meta(extra={"coerce": to_word})]
"""The word for the end of an answer, which may come in a list or an object, or as Google's number of it."""
