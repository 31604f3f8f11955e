"""What requests need, and who cannot do it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.errors import Unsupported
from shared.models.abilities import Needs, check_supported, needs_of, omitted, unmet, unsupported
from shared.models.catalogue import default_catalogue
from shared.models.providers import family_of
from shared.openai.request import ChatBody, decode_chat
from workers.providers.anthropic.models import facts_of

PROVIDERS = ("openai", "ollama", "gemini", "anthropic")
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOLS = [{"type": "function", "function": {"name": "f"}}]
NAMED = {"type": "function", "function": {"name": "f"}}
CUSTOM = {"type": "custom", "custom": {"name": "c"}}


def body(**fields: Any) -> ChatBody:
    """Return a request with these fields."""
    hello = {"model": "auto", "messages": [{"role": "user", "content": "hello"}]}
    return decode_chat(json.dumps(hello | fields).encode())


def said(*messages: dict[str, Any]) -> dict[str, Any]:
    """Return a conversation."""
    return {"messages": [{"role": "user", "content": "hello"}, *messages]}


def part(kind: str, **fields: Any) -> dict[str, Any]:
    """Return a conversation whose second message has this as its second part."""
    parts = [{"type": "text", "text": "x"}, {"type": kind, kind: fields}]
    return said({"role": "user", "content": parts})


PLACE = "messages[1].content[1]"
IMAGE = part("image_url", url="data:image/png;base64,AAAA")
BITMAP = part("image_url", url="data:image/bmp;base64,AAAA")
AUDIO = part("input_audio", data="AAAA", format="wav")
MIDI = part("input_audio", data="AAAA", format=["midi"])
PDF = part("file", file_data="data:application/pdf;base64,AAAA")
ZIP = part("file", file_data="data:application/zip;base64,AAAA")
FILE_ID = part("file", file_id="file-1")
ALLOWED = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [NAMED]}}
ANY = "openai ollama gemini anthropic"
OTHERS = "ollama gemini anthropic"

CASES: list[tuple[dict[str, Any], str, str]] = [
    ({"n": 2}, "n", ""),
    ({"n": 2, "stream": True}, "n", "ollama anthropic"),
    ({"n": 5}, "n", "ollama anthropic"),
    ({"n": 9}, "n", OTHERS),
    ({"seed": 7}, "seed", "anthropic"),
    ({"seed": 2**31}, "seed", "gemini anthropic"),
    ({"max_tokens": 2**31}, "max_tokens", "gemini"),
    ({"max_completion_tokens": 2**31}, "max_completion_tokens", "gemini"),
    ({"frequency_penalty": 0.1}, "frequency_penalty", "anthropic"),
    ({"presence_penalty": -0.1}, "presence_penalty", "anthropic"),
    ({"logprobs": True}, "logprobs", "anthropic"),
    ({"logit_bias": {"1": 5}}, "logit_bias", OTHERS),
    ({"stop": "\n"}, "stop", "anthropic"),
    ({"audio": {"voice": "alloy", "format": "wav"}}, "audio", ANY),
    ({"modalities": ["text", "audio"]}, "modalities", ANY),
    ({"modalities": ["text", "image"]}, "modalities", OTHERS),
    (said({"role": "assistant", "images": [{"type": "image_url"}]}), "messages[1].images", OTHERS),
    ({"prediction": {"type": "content", "content": "x"}}, "prediction", OTHERS),
    ({"web_search_options": {}}, "web_search_options", OTHERS),
    ({"verbosity": "low"}, "verbosity", OTHERS),
    ({"service_tier": "flex"}, "service_tier", "anthropic"),
    ({"service_tier": "scale"}, "service_tier", "gemini anthropic"),
    ({"reasoning_effort": "extreme"}, "reasoning_effort", OTHERS),
    ({"tools": [CUSTOM]}, "tools[0].type", ANY),
    ({"tools": TOOLS, "parallel_tool_calls": False}, "parallel_tool_calls", ""),
    ({"tools": TOOLS, "tool_choice": "required"}, "tool_choice", ""),
    ({"tools": TOOLS, "tool_choice": NAMED}, "tool_choice", ""),
    ({"tools": TOOLS, "tool_choice": ALLOWED}, "tool_choice", "ollama anthropic"),
    ({"functions": [{"name": "f"}], "function_call": {"name": "f"}}, "function_call", ""),
    (IMAGE, PLACE, ""),
    (BITMAP, f"{PLACE}.image_url.url", "anthropic"),
    (AUDIO, PLACE, "ollama anthropic"),
    (MIDI, PLACE, "ollama anthropic"),
    (MIDI, f"{PLACE}.input_audio.format", "gemini"),
    (PDF, PLACE, "ollama"),
    (ZIP, PLACE, "ollama"),
    (ZIP, f"{PLACE}.file.file_data", "anthropic"),
    (FILE_ID, f"{PLACE}.file", "gemini anthropic"),
    (said({"role": "assistant", "audio": {"id": "a"}}), "messages[1].audio", OTHERS),
    (
        said({"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {}}]}),
        "messages[1].tool_calls[0].type",
        OTHERS,
    ),
]


@pytest.mark.parametrize(
    ("asks", "param", "unable"), CASES, ids=[f"{number}-{param}" for number, (_, param, _) in enumerate(CASES)]
)
def test_what_a_provider_cannot_do_is_named_before_it_is_tried(asks: dict[str, Any], param: str, unable: str) -> None:
    """By the parameter that asks for it; the other providers can."""
    assert [name for name in PROVIDERS if unsupported(body(**asks), name, strict=True) == param] == unable.split()


@pytest.mark.parametrize("provider", PROVIDERS)
def test_plain_text_and_defaults_need_nothing(provider: str) -> None:
    """Whatever they are spelled like; so every model can serve them."""
    defaults = {
        "n": 1, "temperature": 1, "top_p": 1, "frequency_penalty": 0, "presence_penalty": 0, "logprobs": False,
        "logit_bias": {}, "stop": [], "modalities": ["text"], "service_tier": "auto", "reasoning_effort": "none",
        "response_format": {"type": "text"}, "parallel_tool_calls": True, "tools": [], "store": True, "user": "u",
    }  # fmt: skip
    conversation = said({"role": "system", "content": "s"}, {"role": "assistant", "content": "a"})
    parts = said({"role": "user", "content": [{"type": "text", "text": "x"}]})
    for asked in (body(), body(**defaults), body(**conversation), body(**parts)):
        # A value of a few words has an ability of its own, which is lacking only once an upstream has refused it.
        assert not [ability for ability in needs_of(asked) if "=" not in ability]
        assert unsupported(asked, provider) is None
        assert unsupported(asked, provider, ("tools", "images", "temperature", "stop")) is None


@pytest.mark.parametrize(
    ("asks", "ability", "param"),
    [
        ({"temperature": 0.5}, "temperature", "temperature"),
        ({"top_p": 0.5}, "top_p", "top_p"),
        ({"max_tokens": 5}, "max_tokens", "max_tokens"),
        ({"stop": "END"}, "stop", "stop"),
        ({"reasoning_effort": "low"}, "reasoning_effort", "reasoning_effort"),
        ({"response_format": {"type": "json_object"}}, "response_format", "response_format"),
        ({"tools": TOOLS}, "tools", "tools"),
        ({"functions": [{"name": "f"}]}, "tools", "functions"),
        (said({"role": "assistant", "tool_calls": [CALL]}), "tools", "messages[1].tool_calls"),
        (said({"role": "assistant", "function_call": CALL["function"]}), "tools", "messages[1].function_call"),
        (IMAGE, "images", PLACE),
        (AUDIO, "audio", PLACE),
        (PDF, "files", PLACE),
    ],
)
def test_a_model_that_lacks_an_ability_is_passed_over(asks: dict[str, Any], ability: str, param: str) -> None:
    """By the words of the catalogue's `cannot`; a model without that word can."""
    assert unsupported(body(**asks), "openai", (ability,), strict=True) == param
    assert unsupported(body(**asks), "openai", ("seed",)) is None


def test_tools_that_must_not_be_called_need_no_model_that_calls() -> None:
    """A choice of none hides them."""
    assert unsupported(body(tools=TOOLS, tool_choice="none"), "openai", ("tools",)) is None
    assert unsupported(body(functions=[{"name": "f"}], function_call="none"), "openai", ("tools",)) is None


def test_the_first_of_several_is_named() -> None:
    """Parameters before messages, and these in their order."""
    asked = body(n=5, **said({"role": "assistant", "audio": {"id": "a"}}, {"role": "assistant", "audio": {"id": "b"}}))
    assert unsupported(asked, "ollama") == "n"
    assert unsupported(asked, "gemini") == "messages[1].audio"


def test_needs_are_made_once_for_all_candidates() -> None:
    """And a provider that this version does not know does all that a reply can carry."""
    needs: Needs = needs_of(body(n=5, seed=1))
    assert [unmet(needs, name) for name in (*PROVIDERS, "newer")] == [None, "n", None, "n", None]


def test_a_provider_refuses_by_the_same_table() -> None:
    """Its error lets another tier try; to whom asked for this one by name it is a 400."""
    with pytest.raises(Unsupported) as caught:
        check_supported(body(n=5), "ollama")
    assert (caught.value.param, caught.value.status, caught.value.fails_over) == ("n", 400, True)
    check_supported(body(n=5), "gemini")


MOST_CLIENTS_SEND: dict[str, Any] = {
    "temperature": 0.7, "top_p": 1, "presence_penalty": 0, "n": 1, "user": "u", "stream": True,
    "stream_options": {"include_usage": True}, "logprobs": False, "top_logprobs": 0, "seed": 7,
}  # fmt: skip


@pytest.mark.parametrize(
    ("provider", "model", "left_out"),
    [
        ("anthropic", "claude-sonnet-5", "temperature top_p presence_penalty seed logprobs top_logprobs"),
        ("anthropic", "claude-haiku-4-5", "presence_penalty seed logprobs top_logprobs"),
        ("openai", "gpt-6-luna", "temperature top_p presence_penalty logprobs top_logprobs"),
        ("openai", "gpt-5.4-mini", ""),
        ("openai", "gpt-4.1", ""),
        ("gemini", "gemini-3.8-flash", "presence_penalty logprobs top_logprobs"),
    ],
)
def test_hints_are_left_out_where_a_model_does_not_take_them(provider: str, model: str, left_out: str) -> None:
    """And refuse nobody, unless the operator is strict: what most clients send is served by every model."""
    asked = body(**MOST_CLIENTS_SEND)
    cannot = default_catalogue().entry(model).lacks()
    assert omitted(asked, provider, cannot) == tuple(left_out.split())
    assert unsupported(asked, provider, cannot) is None
    refused = {"temperature", "seed"} & set(left_out.split())
    strictly = unsupported(asked, provider, cannot, strict=True)
    assert (strictly in refused) if refused else (strictly is None)


def test_log_probabilities_that_are_wanted_are_no_hint() -> None:
    """An answer without them would not be what was asked for."""
    asked = body(logprobs=True, top_logprobs=2)
    assert unsupported(asked, "anthropic") == "logprobs"
    assert omitted(asked, "anthropic") == ()


def test_the_catalogue_says_what_requests_can_need() -> None:
    """A word that nothing asks for would never be heeded."""
    asked = [needs_of(body(**asks)) for asks, _, _ in CASES] + [
        needs_of(body(temperature=0, top_p=0, tools=TOOLS, stop="x", reasoning_effort="low")),
    ]
    words = {ability for needs in asked for ability in needs}
    assert {
        word for entry in default_catalogue().models.values() for word in entry.cannot + entry.cannot_reasoning
    } <= words


def test_the_catalogue_agrees_with_the_facts_of_claude() -> None:
    """What requests are built from is what they are routed by."""
    for name, entry in default_catalogue().models.items():
        family = family_of(name)
        if family is None or family.name != "anthropic":
            continue
        facts = facts_of(name)
        expected = set() if facts.sampling else {"temperature", "top_p"}
        assert set(entry.cannot) == expected | (set() if facts.forced_tools else {"tool_choice"}), name
