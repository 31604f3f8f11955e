"""Requests of the Responses API on their way to OpenAI, and its answers on their way back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dialects.base import ReplyHead, Storable
from shared.dialects.native import OURS
from shared.dialects.responses.carried import to_carried
from shared.dialects.responses.ids import response_id
from shared.dialects.stored.items import listed, output_of
from shared.dialects.stored.thoughts import as_shown
from shared.dialects.stored.thoughts import given as given_to_model
from shared.dialects.table import DIALECTS
from shared.errors import InvalidRequest, StreamBroken, Unavailable
from shared.models.catalogue import default_catalogue
from shared.openai.request import ChatRequest
from shared.openai.sessions.history import History, HistoryTurn
from shared.types import AddedText, Delta, Usage
from tests.upstreams.mutations import Reply
from tests.upstreams.openai import responses as replies
from workers.providers.openai.responses.native import (
    EDITS,
    HELD_HERE,
    NativeBody,
    NativeReader,
    name_own_places,
    native_request,
    to_native_body,
)
from workers.providers.openai.responses.own_items import OwnItems

if TYPE_CHECKING:
    from shared.dialects.responses.request import ResponsesRequest
    from shared.types import Event

ROOT: Final = Path(__file__).resolve().parents[6]
DIALECT: Final = DIALECTS["responses"]
HEAD: Final = ReplyHead("0" * 32, 1_700_000_001, "gpt-6-luna")
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
THOUGHT: dict[str, Any] = {
    "type": "reasoning",
    "id": "rs_9",
    "summary": [],
    "encrypted_content": "gAAAA",
    "status": None,
}
message = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "developer", "system"]), "content": st.text(min_size=1, max_size=5)}
)
calls = st.text("abc", min_size=1, max_size=4).map(lambda name: [
    THOUGHT,
    {"type": "function_call", "id": "fc_1", "call_id": f"call_{name}", "name": name, "arguments": '{"a": 1}'},
    {"type": "function_call_output", "call_id": f"call_{name}", "output": [{"type": "input_text", "text": "x"}]},
])  # fmt: skip
searches = st.just([{"type": "web_search_call", "id": "ws_1", "status": "completed",
                     "action": {"type": "search", "query": "q"}}])  # fmt: skip
items = st.lists(st.one_of(message.map(lambda one: [one]), calls, searches), min_size=1, max_size=4, unique_by=str).map(
    lambda groups: [item for group in groups for item in group]
)
TOOLS: list[dict[str, Any]] = [
    {"type": "web_search", "search_context_size": "low"},
    {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True, "defer_loading": False},
    {"type": "custom", "name": "c", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}},
    {"type": "mcp", "server_label": "s", "server_url": "https://example.com"},
]
tools = st.lists(st.sampled_from(TOOLS), max_size=3, unique_by=lambda tool: str(tool["type"]))
others = st.dictionaries(st.text("xyz", min_size=1, max_size=3).map("x_".__add__), json_values, max_size=2)
known = st.fixed_dictionaries({}, optional={
    "model": st.just("gpt-6-luna"), "instructions": st.text(max_size=5), "store": st.booleans(),
    "stream": st.booleans(),
    "reasoning": st.just({"effort": "high", "summary": "auto"}), "include": st.just(["reasoning.encrypted_content"]),
    "text": st.just({"verbosity": "low", "format": {"type": "text"}}), "metadata": st.just({"a": "b"}), "tools": tools,
    "parallel_tool_calls": st.booleans(), "truncation": st.sampled_from(["auto", "disabled"]),
    "user": st.text(max_size=3),
    "max_output_tokens": st.integers(16, 99), "max_tool_calls": st.integers(1, 9), "temperature": st.floats(0, 2),
    "prompt_cache_key": st.text(max_size=3), "service_tier": st.sampled_from(["flex", "auto"]),
    "safety_identifier": st.none() | st.text(max_size=3), "top_logprobs": st.integers(0, 20),
})  # fmt: skip


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    """Requests that OpenAI's document allows, in any order."""
    fields = {"model": "m", **draw(known), **draw(others), "input": draw(items | st.text(min_size=1, max_size=5))}
    names = draw(st.permutations(list(fields)))
    return {name: fields[name] for name in names}


def _asked(body: dict[str, Any], **more: Any) -> tuple[ChatRequest, ResponsesRequest]:
    request = ChatRequest(json.dumps(body).encode(), read=DIALECT.read, **more)
    asked = native_request(request)
    assert asked is not None
    return request, asked


def _sent(body: dict[str, Any], cannot: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    sent: dict[str, Any] = json.loads(to_native_body(*_asked(body, **more), "theirs", cannot).content)
    return sent


@given(bodies())
def test_nothing_but_the_listed_edits_changes_a_request(body: dict[str, Any]) -> None:
    """Every other field, of any name, is as it came and where it stood."""
    sent = _sent(body)
    edited: dict[str, Any] = {"model": "theirs", "stream": True, "store": False}
    if body.get("store"):
        edited["include"] = ["reasoning.encrypted_content"]
    assert {name: value for name, value in sent.items() if name not in edited} == {
        name: value for name, value in body.items() if name not in edited
    }
    assert {name: sent[name] for name in edited} == edited
    order = [name for name in sent if name in body]
    assert order == list(body)
    assert json.dumps([sent[name] for name in order if name not in edited]) == json.dumps(
        [body[name] for name in order if name not in edited]
    )
    assert set(edited) <= set(EDITS)


def test_what_a_prompt_header_adds_stands_before_the_instructions() -> None:
    """Or is them."""
    added = (AddedText("admin", "Added.", 3),)
    assert _sent({"model": "m", "input": "x"}, added=added)["instructions"] == "Added."
    sent = _sent({"model": "m", "instructions": "Be kind.", "input": "x"}, added=added)
    assert sent["instructions"] == "Added.\n\nBe kind."
    assert sent["input"] == "x"


def test_what_a_session_brings_stands_before_the_input() -> None:
    """As items; the client's own are as they were."""
    earlier = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    history = History(turns=(HistoryTurn(2, msgspec.Raw(json.dumps(earlier).encode())),))
    assert _sent({"model": "m", "input": "c"}, history=history)["input"] == [*earlier, {"role": "user", "content": "c"}]
    own = [{"role": "user", "content": [{"type": "input_text", "text": "c"}]}]
    assert _sent({"model": "m", "input": own}, history=history)["input"] == [*earlier, *own]


def test_hints_that_a_model_does_not_take_are_left_out() -> None:
    """Known from the catalogue, or learned from a refusal."""
    body = {"model": "m", "input": "x", "temperature": 0.5, "top_p": 0.5, "user": "u"}
    assert set(_sent(body, ("temperature", "user"))) == {"model", "input", "top_p", "stream", "store"}
    request, _ = _asked(body)
    without = request.without("top_p")
    asked = native_request(without)
    assert asked is not None
    assert "top_p" not in json.loads(to_native_body(without, asked, "m", ()).content)


def test_thoughts_that_openai_cannot_read_are_left_out() -> None:
    """Those of other models, and those that it would have had to store."""
    stored = {"type": "reasoning", "id": "rs_1", "summary": []}
    others_own = {**stored, "encrypted_content": to_carried("hm")}
    user = {"role": "user", "content": "x"}
    assert _sent({"model": "m", "input": [user, stored, others_own, THOUGHT, user]})["input"] == [user, THOUGHT, user]


def test_what_followed_thoughts_that_are_left_out_has_no_id() -> None:
    """OpenAI would look for the thoughts that it knows to have stood before it."""
    stored = {"type": "reasoning", "id": "rs_1", "summary": []}
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    result = {"type": "function_call_output", "id": "fco_1", "call_id": "c", "output": "x"}
    said = {"role": "assistant", "content": "y"}
    user = {"role": "user", "content": "x", "id": "msg_0"}
    bare: list[dict[str, Any]] = [user, stored, call, result, said, user, said, stored, said, THOUGHT, call]
    given = [item if "id" in item else {**item, "id": f"msg_{number}"} for number, item in enumerate(bare)]
    expected = [user, call, result, said, user, given[6], said, THOUGHT, given[10]]
    assert _sent({"model": "m", "input": given})["input"] == expected


def test_every_edit_is_listed() -> None:
    """On the page for callers too; and what is held here does not go out."""
    page = (ROOT / "docs/api.md").read_text()
    for name, why in EDITS.items():
        assert f"| {'any other' if name == '*' else f'`{name}`'} | {why} |\n" in page
    assert set(HELD_HERE) <= set(EDITS)
    sent = _sent({"model": "m", "input": "x", "background": False})
    assert "background" not in sent


def _read(stream: bytes, size: int | None = None) -> tuple[list[Event], NativeReader]:
    reader = NativeReader()
    events: list[Event] = []
    for start in range(0, len(stream), size or len(stream) or 1):
        events += reader.feed(stream[start : start + (size or len(stream))])
        if reader.done or reader.failure is not None:
            return events, reader
    return events + reader.end(), reader


def _told(events: list[Event], body: dict[str, Any]) -> tuple[list[Any], Any]:
    """Return what the client gets: the events of its stream, and its body."""
    request, _ = _asked(body)
    encoder, fold = DIALECT.encoder(HEAD, request), DIALECT.fold(HEAD, request)
    told, usage = b"", Usage(0, 0)
    for event in events:
        fold.add(event)
        if isinstance(event, Usage):
            usage = event
        else:
            told += encoder.encode(event)
    told += encoder.end(usage)
    lines = [line for line in told.decode().split("\n") if line.startswith("data: ")]
    return [_loaded(line.removeprefix("data: ")) for line in lines], _loaded(fold.finished(usage))


def _loaded(text: str | bytes) -> Any:
    # Python refuses to read a number of thousands of digits, which is JSON all the same.
    return json.loads(text, parse_int=lambda digits: float(digits) if len(digits) > 300 else int(digits))


ANSWER = (
    replies.reasoning("hm", encrypted="sealed"),
    replies.web_search(),
    replies.custom_call("ls", " -l"),
    replies.message("Hel", "lo", item_id="msg_2"),
    replies.call('{"a":', "1}", call_id="call_9"),
)
BODY: dict[str, Any] = {
    "model": "auto", "input": "x", "instructions": "Be kind.", "store": True,
    "include": ["reasoning.encrypted_content"],
}  # fmt: skip


@given(st.lists(st.sampled_from(ANSWER), max_size=5, unique_by=id), st.integers(1, 300))
def test_an_answer_is_openais_own_but_for_what_is_ours(answer: list[replies.Item], size: int) -> None:
    """Each event and item with its ids, streamed and whole, however it was cut."""
    stream = replies.stream(*answer, usage=replies.usage(7, 2), instructions="Added.\n\nBe kind.")
    upstream = [json.loads(line[6:]) for line in stream.decode().split("\n") if line.startswith("data: ")]
    events, reader = _read(stream, size)
    assert reader.failure is None
    told, whole = _told(events, BODY)
    ours = {"id": response_id(HEAD.request_id), "model": "gpt-6-luna", "instructions": "Be kind.", "store": True}
    for event in upstream:
        if "response" in event:
            event["response"] |= ours
    assert told == upstream
    assert whole == upstream[-1]["response"]
    assert set(ours) - {"id", "model"} <= set(OURS)


@given(st.lists(st.sampled_from(ANSWER), max_size=5, unique_by=id), st.integers(1, 300))
def test_an_answer_of_the_background_goes_on_after_the_events_of_its_admission(
    answer: list[replies.Item], size: int
) -> None:
    """Those say that it is there, and its numbers go on from theirs."""
    events, _ = _read(replies.stream(*answer, usage=replies.usage(7, 2)), size)
    plain, _ = _told(events, BODY)
    encoder = DIALECT.encoder(HEAD._replace(events_before=2), _asked({**BODY, "background": True})[0])
    told = b"".join(encoder.encode(event) for event in events if not isinstance(event, Usage)) + encoder.end(
        Usage(0, 0)
    )
    found = [_loaded(line[6:]) for line in told.decode().split("\n") if line.startswith("data: ")]
    assert [event["sequence_number"] for event in found] == list(range(2, len(plain) + 1))
    for event, other in zip(found, plain[1:], strict=True):
        if "response" in event:
            other["response"]["background"] = True
        assert {**event, "sequence_number": 0} == {**other, "sequence_number": 0}


def test_an_answer_has_not_begun_before_its_content() -> None:
    """So that it can be tried elsewhere; a search of OpenAI's own is content: it is billed."""
    begun = replies.response("in_progress")
    heads = replies.numbered(
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        replies.reasoning().all_events(0, "completed")[0],
    )
    events, reader = _read(heads + replies.error("server_error"))
    assert not events
    assert type(reader.failure) is Unavailable
    search = b"".join(replies.event(9, one) for one in replies.web_search().all_events(1, "completed")[:2])
    events, reader = _read(heads + search + replies.error("server_error"))
    assert type(reader.failure) is StreamBroken
    assert [kind for event in events if isinstance(event, Delta) for kind, _ in event.native or ()] == [
        "response.created", "response.in_progress", "response.output_item.added", "response.output_item.added",
        "response.web_search_call.in_progress",
    ]  # fmt: skip


def test_the_input_of_a_custom_tool_is_output_that_is_handed_out_to_be_counted() -> None:
    """No chat has a place for it, and OpenAI bills it."""
    events, reader = _read(replies.stream(replies.custom_call("ls", " -l"), usage=replies.usage(7, 2)))
    assert reader.failure is None
    assert "".join(event.unread or "" for event in events if isinstance(event, Delta)) == "ls -l"


def test_no_oddity_of_an_answer_is_a_fault_of_ours() -> None:
    """What can be read is handed on, and what cannot is the upstream's failure; one of eight is tried each."""
    stream = replies.stream(*ANSWER, usage=replies.usage(7, 2))
    plain = _told(_read(stream)[0], BODY)[1]["output"]
    for oddity in list(Reply("openai-responses", stream).oddities())[::8]:
        events, reader = _read(oddity.body, oddity.split)
        if reader.failure is None:
            told, whole = _told(events, BODY)
            assert told
            if oddity.name.startswith(("split", "line ends", "byte order", "no space", "several data", "between")):
                assert whole["output"] == plain, oddity.name


def test_searches_are_counted() -> None:
    """As OpenAI says, else by the items."""
    told: dict[str, Any] = {
        "image_gen": {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0,
                      "input_tokens_details": {"image_tokens": 0, "text_tokens": 0}},
        "web_search": {"num_requests": 3},
    }  # fmt: skip
    cases: list[tuple[dict[str, Any], int]] = [({}, 1), ({"tool_usage": told}, 3)]
    for extra, expected in cases:
        events, _ = _read(replies.stream(replies.web_search(), usage=replies.usage(7, 2), **extra))
        (usage,) = [event for event in events if isinstance(event, Usage)]
        assert usage.web_searches == expected


def test_an_answer_costs_what_openai_bills() -> None:
    """Cached tokens at their price, the tier that served, and each search besides, which no tier makes cheaper."""
    counted = replies.usage(1000, 100, cached=400, reasoning=60, written=200)
    answer = (replies.web_search(), replies.web_search("snow", item_id="ws_2"), replies.message("x"))
    events, _ = _read(replies.stream(*answer, usage=counted, service_tier="priority"))
    (usage,) = [event for event in events if isinstance(event, Usage)]
    entry = default_catalogue().entry("gpt-6-luna")
    tokens_usd = (400 * 0.1 + 400 * 0.01 + 200 * 0.125 + 100 * 0.5) / 1e6
    assert entry.cost_usd(usage) == pytest.approx(tokens_usd * 2.0 + 2 * 0.01)


@pytest.mark.parametrize(
    ("param", "expected"),
    [("tools[2].name", "tools[2].name"), ("tools[0].type", "tools.type"), ("input[0].content", "input[0].content"),
     ("reasoning.effort", "reasoning.effort"), ("max_output_tokens", "max_output_tokens")],
)  # fmt: skip
def test_a_refusal_names_the_clients_own_fields(param: str, expected: str) -> None:
    """Though a chat would call some of them otherwise."""
    body = {"model": "m", "input": "x", "tools": [
        {"type": "web_search"}, {"type": "function", "name": "a"}, {"type": "function", "name": "b"}]}  # fmt: skip
    _, asked = _asked(body)
    error = InvalidRequest(f"Wrong: '{param}'.", param=param)
    name_own_places(error, asked, NativeBody(b""))
    asked.name_params(error)
    assert error.param == expected


@given(st.lists(st.sampled_from(["lost", "sealed", "said"]), min_size=1, max_size=6), st.integers(0, 3))
def test_a_refusal_names_the_clients_own_items(kinds: list[str], earlier: int) -> None:
    """Though some of them were left out, and others stand before them."""
    given_items = [
        {"lost": {"type": "reasoning", "id": "rs_1", "summary": []}, "sealed": THOUGHT,
         "said": {"role": "user", "content": str(number)}}[kind]
        for number, kind in enumerate(kinds)
    ] + [{"role": "user", "content": "x"}]  # fmt: skip
    messages = [{"role": "user", "content": "y"}] * earlier
    history = History(turns=(HistoryTurn(2, msgspec.Raw(json.dumps(messages).encode())),))
    request, asked = _asked({"model": "m", "input": given_items}, history=history)
    made = to_native_body(request, asked, "m", ())
    for number, sent in enumerate(json.loads(made.content)["input"]):
        error = InvalidRequest(f"Wrong: 'input[{number}].content'.", param=f"input[{number}].content")
        name_own_places(error, asked, made)
        asked.name_params(error)
        if number < earlier:
            assert error.param == "input.content"
        else:
            assert error.param is not None
            at = int(error.param.removeprefix("input[").partition("]")[0])
            assert given_items[at] == sent
            assert f"'{error.param}'" in error.message


def test_thoughts_of_a_stored_response_are_kept_and_not_shown() -> None:
    """Unless the client asks for them; what is not stored is as OpenAI has it."""
    asks = {"include": ["reasoning.encrypted_content"]}
    thought = replies.reasoning("hm", encrypted="sealed")
    events, _ = _read(replies.stream(thought, replies.message("Hi"), usage=replies.usage(7, 2)))
    for more, is_asked, is_shown in (
        ({"store": True}, True, False), ({"store": True, **asks}, True, True), ({"store": False}, False, True),
    ):  # fmt: skip
        body = {"model": "m", "input": "x", **more}
        assert ("include" in _sent(body)) == is_asked
        told, whole = _told(events, body)
        assert ("sealed" in json.dumps(told), "sealed" in json.dumps(whole)) == (is_shown, is_shown)
        fold = DIALECT.fold(HEAD, _asked(body)[0])
        for event in events:
            fold.add(event)
        assert isinstance(fold, Storable)
        stored = fold.result(None) or b""
        assert given_to_model(output_of(stored)[0]) == thought.done
        assert json.loads(as_shown(stored, has_thoughts=False))["output"] == whole["output"]
        assert json.loads(as_shown(stored, has_thoughts=True))["output"][0] == thought.done
    assert "include" not in _sent({"model": "m", "input": "x", "store": True}, ("reasoning_effort",))


def test_ids_that_the_gateway_made_do_not_go_out() -> None:
    """OpenAI knows its own alone, and how they begin."""
    items = [{"role": "user", "content": "x"}, {"type": "web_search_call", "status": "completed"}, {"type": "nonsense"}]
    made = listed(items, "0123456789abcdef" * 2)
    sent = [OwnItems([item], {}, may_have_thoughts=True).after([])[0] for item in made]
    assert [item["id"][:2] for item in made] == ["ms", "ws", "it"]
    assert not any("id" in item for item in sent)
    own = {"role": "user", "content": "x", "id": "msg_of_mine"}
    assert OwnItems([own], {}, may_have_thoughts=True).after([]) == [own]
