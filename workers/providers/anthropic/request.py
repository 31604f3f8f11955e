"""OpenAI's chat requests turned into bodies of Anthropic's POST /v1/messages. Pure.

Source of the shapes: Anthropic's Messages API (MessageCreateParams), version 2023-06-01.

What Anthropic cannot do is refused, never dropped. `max_tokens` is the model's greatest if the client sets no limit.
A temperature above 1 becomes 1, the highest there. Accepted and without effect, since they change no answer: `store`,
`prompt_cache_key`, `metadata` but for its `user_id`, `n: 1`, penalties of 0, `temperature: 1` and `top_p: 1`, and a
tool's `strict` where the model cannot hold to its schema.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from shared.errors import Unsupported
from shared.models.abilities import check_supported, omitted, unknown_parameter
from shared.models.parameters import OWN_FIELDS
from shared.openai.request import ChatBody
from workers.providers.anthropic.content import text_blocks
from workers.providers.anthropic.messages import CLOSING, to_conversation
from workers.providers.anthropic.thinking import to_thinking
from workers.providers.anthropic.tools import Tooling, to_tooling

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.openai.request import ChatRequest
    from workers.providers.anthropic.models import ModelFacts
    from workers.providers.anthropic.thinking import Piece

MAX_USER_ID_CHARS = 256
_KNOWN = frozenset(ChatBody.__struct_fields__)


class Prepared(msgspec.Struct):
    """A request that is ready to be sent.

    Args:
        content: the body.
        json_tool: the tool whose input is the reply's content, if any.
        has_thoughts: whether the body has thinking blocks of earlier turns.
    """

    content: bytes
    json_tool: str | None
    has_thoughts: bool


def to_body(
    request: ChatRequest, model: str, facts: ModelFacts, kept: Mapping[str, Sequence[Piece]] | None = None
) -> Prepared:
    """Return the body to send, and what its reply needs to be read.

    Args:
        request: the client's request.
        model: the model's name at the upstream.
        facts: what the model takes.
        kept: the blocks of earlier turns, by the id of the turn's first call.

    Raises:
        Unsupported: the model cannot meet a parameter; `param` names it.
        InvalidRequest: the request is wrong for any server.
    """
    body = request.body
    check_supported(body, "anthropic")
    conversation = to_conversation(body.messages, kept or {})
    if conversation.turns[-1]["role"] == "assistant" and not facts.prefill:
        conversation.turns.append({"role": "user", "content": text_blocks(CLOSING)})
    tooling = to_tooling(body, conversation.called, facts)
    max_tokens = body.output_limit or facts.max_output
    thinking, effort = to_thinking(
        body.reasoning_effort, facts, max_tokens=max_tokens, forced=tooling.is_forced, is_open=conversation.is_open
    )
    fields: dict[str, Any] = {
        "model": model,
        "max_tokens": max_tokens,
        "messages": conversation.turns,
        "stream": True,
        "system": conversation.system,
        "thinking": thinking,
        **_sampling(body, facts),
        **_tool_fields(tooling, effort),
        "stop_sequences": [body.stop] if isinstance(body.stop, str) else body.stop,
        "metadata": _metadata(body),
        # OpenAI's default tier is Anthropic's standard one.
        "service_tier": "standard_only" if body.service_tier == "default" else None,
        **_own_fields(request.fields),
    }
    content = msgspec.json.encode({name: value for name, value in fields.items() if value not in (None, "", [], {})})
    return Prepared(content, tooling.json_tool, conversation.has_thoughts)


def _sampling(body: ChatBody, facts: ModelFacts) -> dict[str, float]:
    """Return temperature or `top_p`; a default value is left out, since some models reject even that."""
    left_out = {"temperature", "top_p"} if not facts.sampling else set(omitted(body, "anthropic"))
    temperature = None if body.temperature in (None, 1) else min(body.temperature or 0.0, 1.0)
    sampling = {"temperature": temperature, "top_p": None if body.top_p == 1 else body.top_p}
    return {name: value for name, value in sampling.items() if value is not None and name not in left_out}


def _tool_fields(tooling: Tooling, effort: str | None) -> dict[str, Any]:
    output = {"effort": effort, "format": tooling.reply_format}
    return {
        "tools": tooling.tools,
        "tool_choice": tooling.choice,
        "output_config": {name: value for name, value in output.items() if value is not None},
    }


def _metadata(body: ChatBody) -> dict[str, str] | None:
    user = body.safety_identifier or body.user or (body.metadata or {}).get("user_id")
    if user and len(user) > MAX_USER_ID_CHARS:
        param = "safety_identifier" if body.safety_identifier else "user" if body.user else "metadata.user_id"
        raise Unsupported(f"It must have at most {MAX_USER_ID_CHARS} characters.", param=param)
    return {"user_id": user} if user else None


def _own_fields(given: dict[str, Any]) -> dict[str, Any]:
    own = {name: value for name, value in given.items() if name not in _KNOWN and value is not None}
    for name in own:
        if name not in OWN_FIELDS["anthropic"]:
            raise unknown_parameter(name)
    return own
