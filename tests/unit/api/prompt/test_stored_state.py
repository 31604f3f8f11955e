"""What requests say of stored responses, and the items that are put before their own."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.endpoints.stored.arguments import Page, page_of
from api.prompt.responses.preparation import PreparedBody
from api.prompt.responses.state_fields import StateFields, state_fields_of
from api.requests.background.following import _after
from shared.dialects.stored.items import as_listed, ids_of, listed, response_of_item
from shared.errors import InvalidRequest

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.dictionaries(st.sampled_from(["model", "tools", "metadata", "text", "store", "stream", "x"]), JSON)
ITEMS = st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": st.text(max_size=8)}), max_size=4)


@given(fields=FIELDS, own=ITEMS | st.text(max_size=8), earlier=ITEMS)
def test_a_body_goes_on_with_the_items_before_its_own(
    fields: dict[str, Any], own: list[dict[str, Any]] | str, earlier: list[dict[str, Any]]
) -> None:
    """Every other field is as it was, in its place, but for `store`."""
    fields = {**fields, "store": None, "input": own}
    asked = state_fields_of(json.dumps(fields).encode())
    assert asked is not None
    body = json.loads(asked.body(store=True, earlier=earlier, referred={}))
    assert list(body) == list(fields)
    assert body.pop("store") is True
    items = [{"role": "user", "content": own}] if isinstance(own, str) else own
    assert body.pop("input") == ([*earlier, *items] if earlier else own)
    assert body == {name: value for name, value in fields.items() if name not in {"store", "input"}}


@given(raw=st.binary(max_size=64) | JSON.map(lambda value: json.dumps(value).encode()))
def test_a_body_that_is_wrong_is_left_to_its_check(raw: bytes) -> None:
    """Whatever it is, nothing fails here."""
    state_fields_of(raw)


def test_references_are_replaced_in_their_places() -> None:
    """With or without a type; one that is not there is named."""
    raw = json.dumps({"input": [{"type": "item_reference", "id": "a"}, {"role": "user", "content": "x"}, {"id": "b"}]})
    asked = StateFields(raw.encode())
    assert asked.references == {0: "a", 2: "b"}
    body = asked.body(store=False, earlier=[], referred={"a": {"id": "a", "n": 1}, "b": {"id": "b", "n": 2}})
    assert json.loads(body)["input"] == [{"id": "a", "n": 1}, {"role": "user", "content": "x"}, {"id": "b", "n": 2}]
    with pytest.raises(InvalidRequest) as refused:
        asked.body(store=False, earlier=[], referred={"a": {}})
    assert (refused.value.param, refused.value.code) == ("input[2].id", "item_not_found")


def test_errors_name_items_by_their_places_in_the_clients_own() -> None:
    """And what came before them by the field that brought it."""
    prepared = PreparedBody(body=b"", earlier_items=3, source="previous_response_id")
    for param, named in (("input[4].content[1]", "input[1].content[1]"), ("input[2].id", "previous_response_id.id")):
        error = InvalidRequest(f"Wrong: '{param}'.", param=param)
        prepared.name_places(error)
        assert (error.param, error.message) == (named, f"Wrong: '{named}'.")


@given(
    names=st.lists(st.text(min_size=1, max_size=4), unique=True, max_size=12),
    limit=st.integers(1, 5),
    is_descending=st.booleans(),
)
def test_pages_have_each_item_once(names: list[str], limit: int, *, is_descending: bool) -> None:
    """In order, from the first page to the last."""
    items = [{"id": name} for name in names]
    found: list[str] = []
    after, has_more = None, True
    while has_more:
        page = page_of(items, Page(after, limit, is_descending))
        found += [item["id"] for item in page["data"]]
        after, has_more = page["last_id"], page["has_more"]
        assert page["first_id"] == (page["data"][0]["id"] if page["data"] else None)
    assert found == (names[::-1] if is_descending else names)


@given(
    own=st.lists(
        st.fixed_dictionaries(
            {}, optional={"id": st.text(max_size=3), "type": st.sampled_from(["message", "reasoning", "other"])}
        ),
        max_size=5,
    )
)
def test_stored_items_have_ids_and_types(own: list[dict[str, Any]]) -> None:
    """Ids that a client made stay; ours lead to the response."""
    found = listed(own, 32 * "a")
    assert all(item["id"] and item["type"] for item in found)
    assert len(list(ids_of(found))) == len(own)
    for before, after in zip(own, found, strict=True):
        if before.get("id") and "\x00" not in before["id"]:
            assert after["id"] == before["id"]
        else:
            assert response_of_item(after["id"]) == 32 * "a"


def test_what_an_assistant_said_is_listed_as_output_whatever_its_client_called_it() -> None:
    """OpenAI's lists know no other text of one."""
    part = {"type": "input_text", "text": "x"}
    said, asked = (as_listed({"type": "message", "role": role, "content": [part]}) for role in ("assistant", "user"))
    assert said["content"] == [{"type": "output_text", "text": "x", "annotations": [], "logprobs": []}]
    assert asked["content"] == [part]


@given(first=st.integers(0, 50), count=st.integers(0, 20), after=st.integers(-1, 80))
def test_events_are_read_from_a_place_on(first: int, count: int, after: int) -> None:
    """Whole events, whatever entry they stand in."""
    events = [b"event: x\ndata: %d\n\n" % number for number in range(first, first + count)]
    entry = {b"d": b"".join(events), b"n": b"%d" % first}
    assert _after(entry, after) == b"".join(events[max(0, after + 1 - first) :])
