"""Ollama's native /api/chat: OpenAI's chat requests turned into its bodies. Pure: no I/O.

Source of the shapes: Ollama's api/types.go (ChatRequest, Options) and docs/api.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from shared.models.abilities import cannot_do, check_supported, unknown_parameter
from shared.openai.prompt_size import estimate_prompt_tokens
from shared.openai.request import (
    ChatBody,
    CustomTool,
    FunctionDefinition,
    JsonObjectFormat,
    JsonSchemaFormat,
)
from workers.providers.ollama.context import ContextRoom, keep_whole
from workers.providers.ollama.forced import forced_functions, to_schema
from workers.providers.ollama.messages import to_messages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.openai.request import ChatRequest
    from workers.providers.images.remote import Image

# Sampling options of Ollama that OpenAI does not name. Those that load a model (num_gpu, num_thread, ...) are the
# operator's. Ollama drops an option that it does not know without a word, so only current ones are listed.
OPTIONS = frozenset({
    "num_ctx", "num_keep", "num_predict", "top_k", "min_p", "typical_p", "repeat_last_n", "repeat_penalty",
})  # fmt: skip
_KNOWN = frozenset(ChatBody.__struct_fields__)
_THINK: dict[str, bool | str] = {
    "none": False, "minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high",
}  # fmt: skip
FAR_TOO_LONG: Final = 1.5
"""Multiple of its context at which the estimate of a prompt makes an answer to it suspicious."""


class Prepared(msgspec.Struct):
    """A request that is ready to be sent.

    Args:
        content: the body.
        has_level: whether `reasoning_effort` became a level of thinking, which not every model that thinks takes.
        cut_at: the context in tokens, where the prompt seems to be far too long for it; else None.
        forced: the names of the functions of which one must be called; else none.
    """

    content: bytes
    has_level: bool
    cut_at: int | None
    forced: tuple[str, ...] = ()


def to_body(
    request: ChatRequest,
    model: str,
    room: ContextRoom,
    images: Mapping[str, Image] | None = None,
    *,
    takes_levels: bool = True,
) -> Prepared:
    """Return the body to send. What Ollama cannot do is refused, never dropped.

    Accepted and without effect, since they change no answer: `user`, `metadata`, `store`, `service_tier`,
    `prompt_cache_key`, `safety_identifier`, `parallel_tool_calls`, a tool's `strict`. `reasoning_effort`
    becomes `think`, where `minimal` is Ollama's `low`, and `xhigh` and `max` its `high`. Fields that OpenAI does not
    name are Ollama's: sampling options (also inside `options`), `keep_alive` and `think`.

    Args:
        request: the client's request.
        model: the model's name at the upstream.
        room: how long its context may be.
        images: those that the client named by address, by URL.
        takes_levels: whether the model thinks by levels; one that does not is told to think or not to.

    Raises:
        Unsupported: Ollama cannot meet a parameter; `param` names it.
        InvalidRequest: the request is wrong for any server.
        ContextTooLong: the prompt might be cut.
    """
    body = request.body
    check_supported(body, "ollama")
    options = _to_options(body)
    fields: dict[str, Any] = {
        "model": model,
        "messages": to_messages(body.messages, images or {}),
        "stream": True,
        # Both together make a prompt that is too long an error; by default it is cut and answered.
        "truncate": False,
        "shift": False,
        "options": options,
    }
    if body.reasoning_effort is not None:
        level = _THINK[body.reasoning_effort]
        fields["think"] = level if takes_levels else bool(level)
    if body.logprobs:
        fields["logprobs"] = True
        fields["top_logprobs"] = body.top_logprobs or 0
    forced = forced_functions(body)
    if tools := [_to_tool(function) for function in forced] or _to_tools(body):
        fields["tools"] = tools
    if (reply_format := to_schema(forced) if forced else _to_format(body)) is not None:
        fields["format"] = reply_format
    _add_own_fields(request.fields, fields, options)
    num_ctx = options["num_ctx"] = room.num_ctx(options.get("num_ctx"))
    if room.cuts:
        keep_whole(fields)
    # The client's own `think` is not ours to take back.
    has_level = isinstance(fields.get("think"), str) and request.fields.get("think") is None
    seems_cut = estimate_prompt_tokens(body) > FAR_TOO_LONG * num_ctx
    names = tuple(function.name for function in forced)
    return Prepared(msgspec.json.encode(fields), has_level, num_ctx if seems_cut else None, names)


def _to_options(body: ChatBody) -> dict[str, Any]:
    options = {
        "temperature": body.temperature,
        "top_p": body.top_p,
        "seed": body.seed,
        "frequency_penalty": body.frequency_penalty,
        "presence_penalty": body.presence_penalty,
        "num_predict": body.output_limit,
        "stop": [body.stop] if isinstance(body.stop, str) else body.stop,
    }
    return {name: value for name, value in options.items() if value is not None}


def _to_tools(body: ChatBody) -> list[dict[str, Any]]:
    tools: list[dict[str, Any]] = []
    for number, tool in enumerate(body.tools or ()):
        if isinstance(tool, CustomTool):
            raise cannot_do(f"tools[{number}].type")
        if body.tool_choice != "none":
            tools.append(_to_tool(tool.function))
    if body.function_call != "none":
        tools.extend(_to_tool(function) for function in body.functions or ())
    return tools


def _to_tool(function: FunctionDefinition) -> dict[str, Any]:
    parameters = function.parameters or {"type": "object", "properties": {}}
    return {
        "type": "function",
        "function": {"name": function.name, "description": function.description or "", "parameters": parameters},
    }


def _to_format(body: ChatBody) -> str | dict[str, Any] | None:
    wanted = body.response_format
    if isinstance(wanted, JsonSchemaFormat) and wanted.json_schema.schema is not None:
        return wanted.json_schema.schema
    return "json" if isinstance(wanted, JsonObjectFormat | JsonSchemaFormat) else None


def _add_own_fields(given: dict[str, Any], fields: dict[str, Any], options: dict[str, Any]) -> None:
    """Take over the fields that OpenAI does not name: Ollama's own, and no others."""
    for name, value in given.items():
        if name in _KNOWN or value is None:
            continue
        if name in {"keep_alive", "think"}:
            fields[name] = value
        elif name in OPTIONS:
            options[name] = value
        elif name == "options" and isinstance(value, dict):
            for option, setting in value.items():
                if option not in OPTIONS and option not in {"temperature", "top_p", "seed", "stop"}:
                    raise unknown_parameter(f"options.{option}")
                options[option] = setting
        else:
            raise unknown_parameter(name)
