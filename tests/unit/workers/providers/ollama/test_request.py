"""workers/providers/ollama/request.py and ollama_messages.py."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.errors import ContextTooLong, InvalidRequest, Unsupported
from tests.upstreams.outcome import HELLO, chat
from workers.providers.images.remote import Image
from workers.providers.ollama.context import IMAGE_TOKENS, TEMPLATE_TOKENS, ContextRoom
from workers.providers.ollama.request import to_body

FUNCTION = {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}}
TOOLS = [{"type": "function", "function": FUNCTION}]


ROOM = ContextRoom(usual=4096, most=16_384)


def _sent(
    asks: dict[str, Any], room: ContextRoom = ROOM, images: dict[str, Image] | None = None, **options: bool
) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(to_body(chat({**HELLO, **asks}), "theirs", room, images, **options).content)
    return decoded


def _reported(*messages: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "Hi"}, *messages]}


def _called(arguments: str) -> dict[str, Any]:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return {"role": "assistant", "tool_calls": [call]}


def _part(part: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}, part]}]}


def _image(url: str) -> dict[str, Any]:
    return _part({"type": "image_url", "image_url": {"url": url}})


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"n": 2}, "n"),
    ({"logit_bias": {"1": 5}}, "logit_bias"),
    ({"modalities": ["text", "audio"]}, "modalities"),
    ({"audio": {"voice": "alloy", "format": "wav"}}, "audio"),
    ({"prediction": {"type": "content", "content": "x"}}, "prediction"),
    ({"web_search_options": {}}, "web_search_options"),
    ({"verbosity": "low"}, "verbosity"),
    ({"reasoning_effort": "extreme"}, "reasoning_effort"),
    ({"tools": [{"type": "custom", "custom": {"name": "c"}}]}, "tools[0].type"),
    ({"top_q": 1}, "top_q"),
    ({"num_gpu": 1}, "num_gpu"),
    ({"options": {"num_gpu": 1}}, "options.num_gpu"),
    ({"options": 7}, "options"),
    ({"format": "json"}, "format"),
    (_part({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}), "messages[0].content[1]"),
    (_part({"type": "file", "file": {"file_id": "x"}}), "messages[0].content[1]"),
    (_image("https://example.org/a.png"), "messages[0].content[1].image_url.url"),
    (_reported({"role": "assistant", "audio": {"id": "x"}}), "messages[1].audio"),
    (
        _reported({"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "x"}}]}),
        "messages[1].tool_calls[0].type",
    ),
]
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"num_ctx": 0}, "num_ctx"),
    ({"options": {"num_ctx": "all"}}, "num_ctx"),
    ({"num_ctx": True}, "num_ctx"),
    (_image("data:image/png,abc"), "messages[0].content[1].image_url.url"),
    (_image("data:image/png;base64,a b"), "messages[0].content[1].image_url.url"),
    (_image("data:image/png;base64"), "messages[0].content[1].image_url.url"),
    (_reported({"role": "tool", "tool_call_id": "c", "content": "x"}), "messages[1].tool_call_id"),
]


@pytest.mark.parametrize(
    ("asks", "param"), REFUSED, ids=[f"{number}-{param}" for number, (_, param) in enumerate(REFUSED)]
)
def test_what_ollama_cannot_do_is_refused_by_name(asks: dict[str, Any], param: str) -> None:
    """Never dropped without a word; another tier may be able."""
    with pytest.raises(Unsupported) as caught:
        _sent(asks)
    assert caught.value.param == param


@pytest.mark.parametrize(("asks", "param"), WRONG, ids=[f"{number}-{param}" for number, (_, param) in enumerate(WRONG)])
def test_what_is_wrong_anywhere_is_refused_for_good(asks: dict[str, Any], param: str) -> None:
    """No other tier could do better."""
    with pytest.raises(InvalidRequest) as caught:
        _sent(asks)
    assert (caught.value.param, caught.value.fails_over) == (param, False)


def test_fields_that_change_no_answer_are_accepted() -> None:
    """Clients that identify their users or label their requests are served all the same."""
    harmless = {
        "user": "u", "metadata": {"a": "b"}, "store": True, "service_tier": "auto", "prompt_cache_key": "k",
        "safety_identifier": "s", "parallel_tool_calls": True, "n": 1, "logit_bias": {}, "modalities": ["text"],
        "tool_choice": "auto", "response_format": {"type": "text"}, "seed": None, "top_k": None,
    }  # fmt: skip
    assert _sent(harmless) == _sent({})


def test_a_long_prompt_is_never_cut() -> None:
    """The context is always set, and neither truncation nor shifting is left to the server's default."""
    sent = _sent({})
    assert (sent["truncate"], sent["shift"], sent["options"]) == (False, False, {"num_ctx": 4096})


@pytest.mark.parametrize(
    ("asked", "context_length", "num_ctx"),
    [
        (None, None, 4096),
        (None, 2048, 2048),
        (None, 8192, 4096),
        (8000, None, 8000),
        (8000, 2048, 2048),
        (20_000, None, 16_384),
        (20_000, 131_072, 16_384),
    ],
)
def test_num_ctx_is_capped_at_what_the_model_and_the_operator_give(
    asked: int | None, context_length: int | None, num_ctx: int
) -> None:
    """The client's own value wins over the usual one, up to the operator's most and the model's length."""
    room = ContextRoom(usual=4096, most=16_384, of_model=context_length)
    assert _sent({"num_ctx": asked}, room)["options"]["num_ctx"] == num_ctx
    assert _sent({"options": {"num_ctx": asked}}, room)["options"]["num_ctx"] == num_ctx


def test_the_usual_context_may_be_longer_than_a_client_gets() -> None:
    """Then a client may ask for as much as the others have."""
    room = ContextRoom(usual=4096, most=1024)
    assert _sent({}, room)["options"]["num_ctx"] == 4096
    assert _sent({"num_ctx": 5000}, room)["options"]["num_ctx"] == 4096


def test_a_server_that_cuts_gets_no_prompt_that_it_might_cut() -> None:
    """A token has a byte at least: what has fewer bytes than the context has tokens fits, all else is refused."""
    old = ContextRoom(usual=4096, most=16_384, cuts=True)
    said = {"messages": [{"role": "user", "content": "日" * 1200}]}  # 3600 bytes
    with pytest.raises(ContextTooLong, match=r"0\.12\.6"):
        _sent(said, old)
    assert _sent(said)["options"] == {"num_ctx": 4096}
    longer = _sent({**said, "num_ctx": 8192}, old)["options"]
    assert longer["num_predict"] < 8192 - TEMPLATE_TOKENS - 3600
    with pytest.raises(ContextTooLong):
        _sent({"tools": [{"type": "function", "function": {**FUNCTION, "description": "d" * 4000}}]}, old)
    with pytest.raises(ContextTooLong):
        _sent(_image("data:image/png;base64,AAAA"), old)
    fits = _sent({**_image("data:image/png;base64," + "A" * 80_000), "num_ctx": 8192}, old)
    assert 0 < fits["options"]["num_predict"] < 8192 - IMAGE_TOKENS


@pytest.mark.parametrize(("limit", "sent"), [({"max_tokens": 5}, 5), ({"num_predict": -1}, None), ({}, None)])
def test_a_server_that_shifts_ends_its_answer_in_time(limit: dict[str, int], sent: int | None) -> None:
    """Its answer must not push the prompt out of the context: a limit is set, also where the client wants none."""
    options = _sent(limit, ContextRoom(usual=4096, most=4096, cuts=True))["options"]
    assert 0 < options["num_predict"] < 4096 - TEMPLATE_TOKENS
    assert sent is None or options["num_predict"] == sent


@pytest.mark.parametrize(("chars", "cut_at"), [(4 * 4096, None), (4 * 4096 * 2, 4096)])
def test_an_answer_to_a_far_too_long_prompt_is_looked_upon_with_suspicion(chars: int, cut_at: int | None) -> None:
    """Whatever the server's version: see the reader of replies."""
    request = chat({**HELLO, "messages": [{"role": "user", "content": "x" * chars}]})
    assert to_body(request, "theirs", ROOM).cut_at == cut_at


def test_images_by_address_go_out_as_what_was_fetched() -> None:
    """Ollama takes bytes only."""
    sent = _sent(_image("https://example.org/a.png"), images={"https://example.org/a.png": Image("image/png", b"abc")})
    assert sent["messages"] == [{"role": "user", "content": "x", "images": ["YWJj"]}]


def test_ollamas_own_fields_are_passed_on() -> None:
    """Sampling options may stand by themselves or in `options`."""
    sent = _sent({"top_k": 5, "options": {"min_p": 0.1, "temperature": 0.3}, "keep_alive": "5m", "think": True})
    assert sent["options"] == {"top_k": 5, "min_p": 0.1, "temperature": 0.3, "num_ctx": 4096}
    assert (sent["keep_alive"], sent["think"]) == ("5m", True)


@pytest.mark.parametrize(
    ("effort", "think"),
    [("none", False), ("minimal", "low"), ("low", "low"), ("xhigh", "high"), ("max", "high")],
)
def test_reasoning_effort_becomes_think(effort: str, think: bool | str) -> None:  # noqa: FBT001 -- a case
    """Levels that Ollama lacks become its nearest; a model without levels thinks or does not."""
    assert _sent({"reasoning_effort": effort})["think"] == think
    assert _sent({"reasoning_effort": effort}, takes_levels=False)["think"] is bool(think)


def test_only_a_level_of_ours_may_be_put_otherwise() -> None:
    """The client's own `think` is its own."""
    asked = ({"reasoning_effort": "low"}, {"reasoning_effort": "low", "think": "high"}, {"reasoning_effort": "none"})
    assert [to_body(chat({**HELLO, **fields}), "m", ROOM).has_level for fields in asked] == [True, False, False]


def test_tools_and_legacy_functions_are_the_same() -> None:
    """Both become tools; a choice of none hides them."""
    assert _sent({"tools": TOOLS})["tools"] == TOOLS
    assert _sent({"functions": [FUNCTION]})["tools"] == TOOLS
    assert "tools" not in _sent({"tools": TOOLS, "tool_choice": "none"})
    assert "tools" not in _sent({"functions": [FUNCTION], "function_call": "none"})
    bare = _sent({"tools": [{"type": "function", "function": {"name": "f", "strict": True}}]})["tools"][0]["function"]
    assert bare == {"name": "f", "description": "", "parameters": {"type": "object", "properties": {}}}


def test_legacy_function_messages_become_tool_messages() -> None:
    """The call has no id there, and its result names the function itself."""
    call = {"role": "assistant", "function_call": {"name": "f", "arguments": '{"x":1}'}}
    sent = _sent(_reported(call, {"role": "function", "name": "f", "content": "ok"}))
    assert sent["messages"][1:] == [
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}]},
        {"role": "tool", "content": "ok", "tool_name": "f"},
    ]


def test_a_refusal_said_before_is_a_text() -> None:
    """The model sees what it said, in whichever form the client kept it."""
    parts = [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "b"}]
    sent = _sent(_reported({"role": "assistant", "refusal": "No."}, {"role": "assistant", "content": parts}))
    assert [message["content"] for message in sent["messages"]] == ["Hi", "No.", "a\nb"]


def test_a_schema_without_a_schema_is_json_mode() -> None:
    """The schema itself is optional in OpenAI's format."""
    assert _sent({"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}})["format"] == "json"
