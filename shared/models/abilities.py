"""Abilities that a chat request needs beyond plain text, and those that an API or a model lacks. Pure.

An ability is a word: a parameter's name, `images`, `audio`, `files` or `tools` for what messages hold (these are the
words of the catalogue's `cannot`), or one of a provider's `lacks` for what only some values or shapes ask for.

Sources: what each API takes, as its provider's modules in `workers/providers/` name it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from operator import attrgetter
from typing import Any, Final

from shared.errors import Unsupported
from shared.models.parameters import VALUES, WITHOUT_EFFECT
from shared.models.providers import lacks_of
from shared.openai.image_types import encoded_image_type
from shared.openai.messages import AssistantMessage, AudioPart, CustomToolCall, FilePart, ImagePart, Message, TextPart
from shared.openai.request import ChatBody, CustomTool, FunctionDefinition, FunctionTool, TextFormat

Needs = dict[str, str]
"""Each ability that a request needs, with the parameter that asks for it in OpenAI's notation, first things first."""

EFFORTS: Final = VALUES["reasoning_effort"]
GEMINI_AUDIO: Final = frozenset({"wav", "mp3", "aiff", "aac", "ogg", "flac"})
GEMINI_CHOICES: Final = 8
GEMINI_TIERS: Final = frozenset({"auto", "default", "standard", "flex", "priority"})
_INT32: Final = range(-(2**31), 2**31)  # Gemini's seed and limits; OpenAI's seed has 64 bits
COMMON_IMAGES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_RARE_IMAGE: Final = re.compile(r"data:image/(?!(?:jpeg|png|gif|webp)[;,])", re.IGNORECASE)
_RARE_FILE: Final = re.compile(r"data:(?!(?:application/pdf|text/plain)[;,])", re.IGNORECASE)


def _abilities(**conditions: bool) -> tuple[str, ...]:
    return tuple(ability for ability, holds in conditions.items() if holds)


def _limit(name: str) -> Callable[[int], tuple[str, ...]]:
    return lambda tokens: (name,) if tokens in _INT32 else (name, "wide_limit")


def _stops(stop: str | list[str]) -> tuple[str, ...]:
    stops = [stop] if isinstance(stop, str) else stop
    return _abilities(stop=bool(stops), blank_stop=not all(one.strip() for one in stops))


def of_value(parameter: str, value: str) -> str:
    """Return the ability to take one value of a parameter that has a few words only."""
    return f"{parameter}={value}"


def _tier(tier: str) -> tuple[str, ...]:
    if tier in {"auto", "default"}:
        return ()
    return (*_abilities(service_tier=True, rare_service_tier=tier not in GEMINI_TIERS), of_value("service_tier", tier))


def _effort(effort: str) -> tuple[str, ...]:
    named = _abilities(reasoning_effort=effort != "none", rare_effort=effort not in EFFORTS)
    # By itself too: a model may have refused this one word (rejected_parameters.py).
    return (*named, of_value("reasoning_effort", effort))


_PARAMETERS: Final[dict[str, Callable[[Any], tuple[str, ...]]]] = {
    "n": lambda n: _abilities(n=n > 1, many_choices=n > GEMINI_CHOICES),
    "seed": lambda seed: ("seed",) if seed in _INT32 else ("seed", "wide_seed"),
    "max_completion_tokens": _limit("max_completion_tokens"),
    "max_tokens": _limit("max_tokens"),
    "temperature": lambda value: _abilities(temperature=value != 1),
    "top_p": lambda value: _abilities(top_p=value != 1),
    "frequency_penalty": lambda value: _abilities(frequency_penalty=bool(value)),
    "presence_penalty": lambda value: _abilities(presence_penalty=bool(value)),
    "logprobs": lambda value: _abilities(logprobs=value),
    "logit_bias": lambda value: _abilities(logit_bias=bool(value)),
    "stop": _stops,
    "audio": lambda _: ("audio_output",),
    "modalities": lambda value: _abilities(audio_output="audio" in value, image_output="image" in value),
    "moderation": lambda _: ("moderation",),
    "prediction": lambda _: ("prediction",),
    "web_search_options": lambda _: ("web_search_options",),
    "verbosity": lambda value: ("verbosity", of_value("verbosity", value)),
    "service_tier": _tier,
    "reasoning_effort": _effort,
    "response_format": lambda wanted: _abilities(response_format=not isinstance(wanted, TextFormat)),
}
"""The abilities that a parameter's value needs. A value that means the default needs none."""
_given = attrgetter(*_PARAMETERS)
_NONE_GIVEN: Final = (None,) * len(_PARAMETERS)


MOST_REPEATED: Final = 4
"""So many choices, not streamed, an upstream that makes one at a time is asked for one by one."""
HINTS: Final = {
    "temperature": ("temperature", "reasoned_temperature"),
    "top_p": ("top_p", "reasoned_top_p", "both_samplings"),
    "frequency_penalty": ("frequency_penalty",),
    "presence_penalty": ("presence_penalty",),
    "seed": ("seed",),
}
"""The parameters that an answer may go without, and the abilities that they need: left out where a model lacks one."""
_HINTED: Final = frozenset(ability for abilities in HINTS.values() for ability in abilities)
MIN_TOP_P_REASONING: Final = 0.95  # while it thinks, Claude takes a top_p of 0.95 to 1
_ANY_TOOL: Final[list[FunctionTool | CustomTool]] = [FunctionTool(FunctionDefinition("any"))]


def needs_of(body: ChatBody) -> Needs:
    """Return what a request needs; of plain text nothing. To be made once for all candidates."""
    needs: Needs = {}
    values = _given(body)
    # One comparison spares plain requests the whole table: this runs for each of them.
    if values != _NONE_GIVEN:
        for (name, abilities), value in zip(_PARAMETERS.items(), values, strict=True):
            if value is not None:
                for ability in abilities(value):
                    needs.setdefault(ability, name)
        _add_sampling(body, needs)
        if (body.n or 1) <= MOST_REPEATED and not body.stream:
            needs.pop("n", None)
    if body.tools or body.functions:
        _add_tools(body, needs)
    for number, message in enumerate(body.messages):
        if type(message.content) is not str or (
            type(message) is AssistantMessage
            and (message.tool_calls or message.function_call or message.audio or message.images)
        ):
            _add_message(message, number, needs)
    return needs


def unmet(needs: Needs, provider: str, cannot: Collection[str] = (), *, strict: bool = False) -> str | None:
    """Name the parameter that a provider, or a model with this `cannot`, does not support; None if all are.

    Args:
        needs: what a request needs.
        provider: whose API it is.
        cannot: what the model does not do besides.
        strict: whether hints count too, which are otherwise left out (`omitted`).
    """
    if not needs:
        return None
    lacks = lacks_of(provider)
    return next(
        (
            param
            for ability, param in needs.items()
            if (ability in lacks or ability in cannot) and (strict or ability not in _HINTED)
        ),
        None,
    )


def omitted(body: ChatBody, provider: str, cannot: Collection[str] = ()) -> tuple[str, ...]:
    """Return the hints of a request that do not go to a model, since it does not take them.

    Also values that are the default anyway: models whose sampling is fixed refuse to be told so.
    """
    lacks = lacks_of(provider) | set(cannot)
    needs = needs_of(body)
    found = [
        name
        for name, abilities in HINTS.items()
        if getattr(body, name) is not None
        and (name in lacks or any(ability in lacks for ability in abilities if ability in needs))
    ]
    if "logprobs" in lacks:
        # `false` and 0 ask for nothing, but where the parameter is unknown even they are refused.
        found += [name for name in ("logprobs", "top_logprobs") if getattr(body, name) in (False, 0)]
    found += [name for name in sorted(WITHOUT_EFFECT.intersection(cannot)) if getattr(body, name) is not None]
    return tuple(found)


def without_prompt(body: ChatBody) -> ChatBody:
    """Return what `omitted` has to know of a request, which is none of its prompt: that may be large."""
    names = (*HINTS, "logprobs", "top_logprobs", "reasoning_effort")
    values: dict[str, Any] = {name: getattr(body, name) for name in names}
    # Of these only whether they were given, as the empty value of their type: some are texts of any length.
    values |= {name: type(given)() for name in WITHOUT_EFFECT if (given := getattr(body, name)) is not None}
    return ChatBody(model=body.model, messages=[], tools=_ANY_TOOL if body.has_tools else None, **values)


def makes_one_choice(provider: str, cannot: Collection[str] = ()) -> bool:
    """Return whether a provider, or a model with this `cannot`, makes one choice a call: it is asked several times."""
    return "n" in lacks_of(provider) or "n" in cannot


def unsupported(body: ChatBody, provider: str, cannot: Collection[str] = (), *, strict: bool = False) -> str | None:
    """Name the parameter of a body that a single candidate does not support, as `unmet` does."""
    return unmet(needs_of(body), provider, cannot, strict=strict)


def check_supported(body: ChatBody, provider: str, cannot: Collection[str] = ()) -> None:
    """Refuse what a provider cannot do; for the provider itself, before it translates.

    Raises:
        Unsupported: `param` names what it cannot do.
    """
    several = (body.n or 1) > 1 and makes_one_choice(provider, cannot)
    param = "n" if several else unsupported(body, provider, cannot)
    if param is not None:
        raise cannot_do(param)


def cannot_do(param: str, model: str | None = None) -> Unsupported:
    """Return the error for a parameter that a model, or its server, does not do."""
    which = "This model" if model is None else f"The model '{model}'"
    return Unsupported(f"{which} cannot do what '{param}' asks for.", param=param, code="unsupported_parameter")


def unknown_parameter(name: str) -> Unsupported:
    """Return the error for a field that neither OpenAI nor this upstream names; another kind of server may know it."""
    return Unsupported(f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")


def _add_sampling(body: ChatBody, needs: Needs) -> None:
    """Add what only the combination of sampling parameters asks for."""
    # Claude takes one of the two.
    if "temperature" in needs and "top_p" in needs:
        needs["both_samplings"] = "top_p"
    if "reasoning_effort" in needs and "temperature" in needs:
        needs["reasoned_temperature"] = "temperature"
    if "reasoning_effort" in needs and "top_p" in needs and (body.top_p or 0) < MIN_TOP_P_REASONING:
        needs["reasoned_top_p"] = "top_p"


def _add_tools(body: ChatBody, needs: Needs) -> None:
    param = "function_call" if body.tool_choice is None else "tool_choice"
    choice = body.function_call if body.tool_choice is None else body.tool_choice
    for number, tool in enumerate(body.tools or ()):
        if isinstance(tool, CustomTool):
            needs.setdefault("custom_tools", f"tools[{number}].type")
    if choice != "none":
        needs["tools"] = "tools" if body.tools else "functions"
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        needs["allowed_tools"] = param
    elif isinstance(choice, dict) or choice == "required":
        needs["tool_choice"] = param


def _add_message(message: Message, number: int, needs: Needs) -> None:
    place = f"messages[{number}]"
    if isinstance(message, AssistantMessage):
        if message.audio is not None:
            needs.setdefault("earlier_audio", f"{place}.audio")
        if message.images:
            needs.setdefault("earlier_images", f"{place}.images")
        if message.tool_calls or message.function_call:
            needs.setdefault("tools", f"{place}.tool_calls" if message.tool_calls else f"{place}.function_call")
        for index, call in enumerate(message.tool_calls or ()):
            if isinstance(call, CustomToolCall):
                needs.setdefault("custom_calls", f"{place}.tool_calls[{index}].type")
        return
    for index, part in enumerate(message.content or ()):
        if not isinstance(part, TextPart | str):
            _add_part(part, f"{place}.content[{index}]", needs)


def _is_rare(url: str) -> bool:
    """Return whether an image is of a type that not every API takes."""
    if _RARE_IMAGE.match(url) is None:
        return False
    head, _, encoded = url.partition(",")
    return encoded_image_type(head[len("data:") :].partition(";")[0].lower(), encoded) not in COMMON_IMAGES


def _add_part(part: ImagePart | AudioPart | FilePart, where: str, needs: Needs) -> None:
    if isinstance(part, ImagePart):
        needs.setdefault("images", where)
        if _is_rare(part.image_url.url):
            needs.setdefault("rare_images", f"{where}.image_url.url")
    elif isinstance(part, AudioPart):
        needs.setdefault("audio", where)
        audio_format = part.input_audio.get("format")
        if not isinstance(audio_format, str) or audio_format not in GEMINI_AUDIO:
            needs.setdefault("rare_audio", f"{where}.input_audio.format")
    else:
        needs.setdefault("files", where)
        encoded = part.file.get("file_data")
        if not isinstance(encoded, str):
            needs.setdefault("file_ids", f"{where}.file")
        elif _RARE_FILE.match(encoded):
            needs.setdefault("rare_files", f"{where}.file.file_data")
