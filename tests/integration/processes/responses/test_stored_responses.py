"""Responses that are stored: read, continued, listed, deleted; conversations; and who may."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.fleet import PATIENCE_S, Fleet, Process, ready
from tests.responses import PATH, got, respond, stored_ids, text_of, texts, until_stored
from tests.upstreams.numbered import NumberedUpstream, words

if TYPE_CHECKING:
    from tests.conftest import Eventually


def said(upstream: NumberedUpstream) -> list[str]:
    """Return the texts of the messages that the model was given last."""
    contents = [message["content"] for message in upstream.requests[-1]["messages"]]
    return ["".join(part["text"] for part in each) if isinstance(each, list) else each for each in contents]


async def refused(client: httpx.AsyncClient, **fields: Any) -> tuple[int, str | None, str | None]:
    """Return how a request for a response is refused: status, parameter and code."""
    reply = await client.post(PATH, json={"model": "numbered", "input": "x", **fields})
    error = reply.json()["error"]
    return reply.status_code, error["param"], error["code"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_response_is_read_again_as_it_was_given(
    client: httpx.AsyncClient, fleet: Fleet, eventually: Eventually, *, stream: bool
) -> None:
    """At once, and from PostgreSQL, where it stands once."""
    if stream:
        async with client.stream("POST", PATH, json={"model": "numbered", "input": "one", "stream": True}) as reply:
            lines = [line async for line in reply.aiter_lines()]
        event = json.loads([line for line in lines if line.startswith("data: ")][-1].removeprefix("data: "))
        assert event["type"] == "response.completed"
        first = event["response"]
    else:
        first = await respond(client, "one")
    assert await got(client, f"{PATH}/{first['id']}") == first
    row = await until_stored(fleet, first["id"], eventually)
    assert row["previous_id"] is None
    assert await got(client, f"{PATH}/{first['id']}") == first
    assert await stored_ids(fleet) == [first["id"]]


async def test_a_response_is_continued_also_after_a_restart_of_all(
    client: httpx.AsyncClient, fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """The model is given what was said before, not the instructions; a branch begins where it begins."""
    first = await respond(client, "one", instructions="In verse.")
    second = await respond(client, [{"role": "user", "content": "two"}], previous_response_id=first["id"])
    assert said(upstream) == ["one", words(20), "two"]
    assert second["previous_response_id"] == first["id"]
    await until_stored(fleet, second["id"], eventually)
    for process in fleet.processes:
        process.kill()
    again = await fleet.api()
    await fleet.worker()
    await fleet.recorder()
    await ready(again, eventually)
    async with httpx.AsyncClient(base_url=again.url, headers=client.headers, timeout=PATIENCE_S) as asking:
        third = await respond(asking, "three", previous_response_id=second["id"])
        assert said(upstream) == ["one", words(20), "two", words(20), "three"]
        await respond(asking, "other", previous_response_id=first["id"])
        assert said(upstream) == ["one", words(20), "other"]
        items = await got(asking, f"{PATH}/{third['id']}/input_items", order="asc", limit=100)
    assert texts(items["data"]) == ["one", words(20), "two", words(20), "three"]


async def test_input_items_come_in_pages(client: httpx.AsyncClient) -> None:
    """The newest first where nothing else is asked for, each with an id and a type."""
    asked = [{"role": "user", "content": str(number)} for number in range(7)]
    response = await respond(client, asked)
    path = f"{PATH}/{response['id']}/input_items"
    newest = await got(client, path, limit=3)
    assert texts(newest["data"]) == ["6", "5", "4"]
    assert (newest["object"], newest["has_more"]) == ("list", True)
    assert (newest["first_id"], newest["last_id"]) == (newest["data"][0]["id"], newest["data"][2]["id"])
    rest = await got(client, path, limit=100, after=newest["last_id"])
    assert texts(rest["data"]) == ["3", "2", "1", "0"]
    assert not rest["has_more"]
    assert texts((await got(client, path, order="asc", limit=2))["data"]) == ["0", "1"]
    assert {item["type"] for item in rest["data"]} == {"message"}
    for query in ({"limit": 0}, {"limit": 101}, {"order": "up"}, {"after": "msg_x"}):
        assert (await client.get(path, params=query)).status_code == 400, query


async def test_items_are_referred_to_by_their_ids(
    client: httpx.AsyncClient, upstream: NumberedUpstream, fleet: Fleet, eventually: Eventually
) -> None:
    """Before and after they are in PostgreSQL; one that is not there is named."""
    first = await respond(client, [{"role": "user", "content": "one", "id": "msg_of_mine"}])
    answer = {"type": "item_reference", "id": first["output"][0]["id"]}
    await respond(client, [answer, {"role": "user", "content": "two"}])
    assert said(upstream) == [words(20), "two"]
    await until_stored(fleet, first["id"], eventually)
    await respond(client, [{"id": "msg_of_mine"}, answer, {"role": "user", "content": "three"}])
    assert said(upstream) == ["one", words(20), "three"]
    gone = {"type": "item_reference", "id": "msg_gone"}
    assert await refused(client, input=["x", gone]) == (400, "input[0]", "invalid_type")
    assert await refused(client, input=[answer, gone]) == (400, "input[1].id", "item_not_found")


async def test_a_deleted_response_is_gone(client: httpx.AsyncClient, fleet: Fleet, eventually: Eventually) -> None:
    """At once and for good; what continues it cannot be continued, and says why."""
    first = await respond(client, "one")
    second = await respond(client, "two", previous_response_id=first["id"])
    await until_stored(fleet, second["id"], eventually)
    reply = await client.delete(f"{PATH}/{first['id']}")
    assert (reply.status_code, reply.json()) == (200, {"id": first["id"], "object": "response", "deleted": True})
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/input_items"), ("POST", "/cancel")):
        assert (await client.request(method, f"{PATH}/{first['id']}{path}")).status_code == 404
    assert (await client.get(f"{PATH}/{second['id']}")).status_code == 200
    not_found = (400, "previous_response_id", "previous_response_not_found")
    assert await refused(client, previous_response_id=first["id"]) == not_found
    assert await refused(client, previous_response_id=second["id"]) == not_found


async def test_a_response_is_its_keys_alone(client: httpx.AsyncClient, fleet: Fleet, api: Process) -> None:
    """Another key is told the same as of one that never was."""
    first = await respond(client, "one")
    conversation = (await client.post("/v1/conversations", json={})).json()["id"]
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=PATIENCE_S) as other:
        for name in (first["id"], "resp_" + 32 * "0", "x"):
            for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/input_items"), ("POST", "/cancel")):
                reply = await other.request(method, f"{PATH}/{name}{path}")
                assert reply.status_code == 404, reply.text
                assert reply.json()["error"]["message"] == f"Response with id '{name}' not found."
            not_found = (400, "previous_response_id", "previous_response_not_found")
            assert await refused(other, previous_response_id=name) == not_found
        reference = {"type": "item_reference", "id": first["output"][0]["id"]}
        assert await refused(other, input=[reference]) == (400, "input[0].id", "item_not_found")
        assert (await other.get(f"/v1/conversations/{conversation}")).status_code == 404
        assert (await refused(other, conversation=conversation))[0] == 404
    assert (await client.get(f"{PATH}/{first['id']}")).status_code == 200


async def test_what_shall_not_be_stored_is_not(client: httpx.AsyncClient, fleet: Fleet) -> None:
    """It is answered and says so; what needs a stored response is refused by name then."""
    answer = await respond(client, "one", store=False)
    assert text_of(answer) == words(20)
    assert (await client.get(f"{PATH}/{answer['id']}")).status_code == 404
    first = await respond(client, "one")
    second = await respond(client, "two", previous_response_id=first["id"], store=False)
    assert (await client.get(f"{PATH}/{second['id']}")).status_code == 404
    assert await refused(client, conversation="conv_x", store=False) == (400, "store", "invalid_value")
    assert second["id"] not in await stored_ids(fleet)


async def test_wrong_requests_name_the_clients_own_items(client: httpx.AsyncClient) -> None:
    """Not those that were put before them."""
    first = await respond(client, "one")
    wrong = [{"role": "user", "content": "two"}, {"type": "nonsense"}]
    assert await refused(client, input=wrong, previous_response_id=first["id"]) == (
        400, "input[1].type", "invalid_value",
    )  # fmt: skip
    both = {"previous_response_id": first["id"], "conversation": "conv_" + 32 * "0"}
    assert await refused(client, **both) == (400, "conversation", "mutually_exclusive_parameters")


async def test_a_conversation_grows_with_its_responses(
    client: httpx.AsyncClient, upstream: NumberedUpstream, fleet: Fleet, eventually: Eventually
) -> None:
    """Created with items, continued by responses, added to by its client; in the order in which all that happened."""
    made = await client.post(
        "/v1/conversations", json={"items": [{"role": "user", "content": "zero"}], "metadata": {"topic": "numbers"}}
    )
    conversation = made.json()
    assert (conversation["object"], conversation["metadata"]) == ("conversation", {"topic": "numbers"})
    path = f"/v1/conversations/{conversation['id']}"
    first = await respond(client, "one", conversation=conversation["id"])
    assert first["conversation"] == {"id": conversation["id"]}
    assert said(upstream) == ["zero", "one"]
    second = await respond(client, "two", conversation={"id": conversation["id"]})
    assert said(upstream) == ["zero", "one", words(20), "two"]
    await until_stored(fleet, second["id"], eventually)
    added = await client.post(f"{path}/items", json={"items": [{"role": "user", "content": "own"}]})
    assert added.status_code == 200, added.text
    (own,) = added.json()["data"]
    await respond(client, "three", conversation=conversation["id"])
    assert said(upstream) == ["zero", "one", words(20), "two", words(20), "own", "three"]
    items = (await got(client, f"{path}/items", order="asc", limit=100))["data"]
    assert texts(items) == ["zero", "one", words(20), "two", words(20), "own", "three", words(20)]
    assert await got(client, f"{path}/items/{own['id']}") == own
    before = await got(client, f"{PATH}/{second['id']}/input_items", order="asc")
    assert texts(before["data"]) == ["zero", "one", words(20), "two"]
    assert (await client.delete(f"{path}/items/{own['id']}")).json()["id"] == conversation["id"]
    assert (await client.get(f"{path}/items/{own['id']}")).status_code == 404
    changed = await client.post(path, json={"metadata": {"topic": "words"}})
    assert changed.json()["metadata"] == (await got(client, path))["metadata"] == {"topic": "words"}
    assert (await client.delete(path)).json() == {
        "id": conversation["id"], "object": "conversation.deleted", "deleted": True,
    }  # fmt: skip
    assert (await client.get(path)).status_code == 404
    assert (await client.get(f"{PATH}/{second['id']}")).status_code == 200


async def test_a_conversation_has_one_request_at_a_time(
    client: httpx.AsyncClient, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """Another one is told to come back; one that was refused, or left, has it no more."""
    conversation = (await client.post("/v1/conversations", json={})).json()["id"]
    upstream.hold_at = 5
    body = {"model": "numbered", "input": "one", "conversation": conversation, "stream": True}
    async with client.stream("POST", PATH, json=body) as reply:
        assert reply.status_code == 200
        await eventually(lambda: upstream.held)
        assert await refused(client, conversation=conversation) == (409, "conversation", "conversation_locked")
    await eventually(lambda: upstream.aborted)
    upstream.resume.set()
    assert await refused(client, conversation=conversation, input=[{"type": "x"}]) == (
        400, "input[0].type", "invalid_value",
    )  # fmt: skip

    async def is_free() -> bool:
        reply = await client.post(PATH, json={**body, "stream": False})
        return reply.status_code == 200

    await eventually(is_free)


async def test_wrong_conversations_are_refused_by_name(client: httpx.AsyncClient) -> None:
    """Items, metadata and unknown fields."""
    for body, param in (
        ({"items": [{"type": "nonsense"}]}, "items[0].type"),
        ({"items": [{"role": "user", "content": "x"}] * 21}, "items"),
        ({"metadata": {"x": 1}}, "metadata.x"),
        ({"other": 1}, "other"),
    ):
        reply = await client.post("/v1/conversations", json=body)
        assert reply.status_code == 400, body
        assert (reply.json()["error"]["param"] or "").startswith(param.partition(".")[0]), reply.text


async def test_a_large_input_is_not_stored(client: httpx.AsyncClient) -> None:
    """Unless its client asks for that, which is refused by name."""
    large = "x " * (4 * 2**20)
    reply = await client.post(PATH, json={"model": "numbered", "input": large})
    assert (reply.status_code, reply.headers["x-nself-omitted"]) == (200, "store")
    assert (await client.get(f"{PATH}/{reply.json()['id']}")).status_code == 404
    assert await refused(client, input=large, store=True) == (400, "store", "input_too_large_to_store")


async def test_where_nothing_is_stored_responses_are_made_and_what_needs_them_is_refused(
    fleet: Fleet, eventually: Eventually
) -> None:
    """By name, with `CLAW_STORE_RESPONSES=false`; the default, to store, is no mistake of the client's."""
    api = await fleet.api(CLAW_STORE_RESPONSES="false")
    await fleet.worker()
    await fleet.recorder()
    await ready(api, eventually)
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=PATIENCE_S) as client:
        made = await respond(client, "one")
        for name, value in (("previous_response_id", made["id"]), ("conversation", "conv_1"), ("background", True)):
            assert (await refused(client, **{name: value}))[:2] == (400, name)
        assert (await client.get(f"{PATH}/{made['id']}")).status_code >= 400
    assert await stored_ids(fleet) == []
