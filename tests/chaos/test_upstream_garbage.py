"""A model server fails in every way it can: before content a real status, after it an error event, never a stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from shared.redis import client as redis_client
from tests.fleet import Fleet, chat, ready
from tests.streams import content, events, usage_rows
from tests.upstreams.openai import replies as openai
from tests.upstreams.scripted import Act, Answer, ScriptedUpstream, json_answer, sse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

    from cli.up.embedded.valkey import EmbeddedValkey
    from tests.conftest import Eventually

TOKEN = openai.chunk({"content": "Hel"})
ERROR = b'data: {"error": {"message": "out of memory", "type": "server_error", "code": null}}\n\n'

SILENT = {"CLAW_FIRST_TOKEN_TIMEOUT_S": "2", "CLAW_BETWEEN_TOKENS_TIMEOUT_S": "0.5"}

BEFORE_CONTENT: dict[str, tuple[Answer, int, str]] = {
    "status 500": (json_answer({"error": {"message": "x"}}, 500), 502, "upstream_unavailable"),
    "status 503": (json_answer({"error": {"message": "x"}}, 503), 502, "upstream_unavailable"),
    "status 401": (json_answer({"error": {"message": "x"}}, 401), 502, "upstream_credential_rejected"),
    "an error inside 200": (sse(ERROR), 502, "server_error"),
    "half a line of JSON": (sse(b'data: {"choices": [{"del\n\n'), 502, "upstream_garbled"),
    "nothing at all": (sse(b""), 502, "upstream_stream_broken"),
    "a connection that is cut": (sse(Act.ABORT), 502, "upstream_unavailable"),
}
AFTER_CONTENT: dict[str, Answer] = {
    "an error inside 200": sse(TOKEN, ERROR),
    "half a line of JSON": sse(TOKEN, b'data: {"choices": [{"del\n\n'),
    "an end without a finish": sse(TOKEN, b"data: [DONE]\n\n"),
    "a body that just ends": sse(TOKEN),
    "a connection that is cut": sse(TOKEN, Act.ABORT),
}
SILENT_BEFORE: dict[str, tuple[Answer, int, str]] = {"silence": (sse(Act.HANG), 504, "upstream_timeout")}
SILENT_AFTER: dict[str, Answer] = {"silence": sse(TOKEN, Act.HANG)}


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedUpstream]:
    """Yield a scripted model server."""
    async with ScriptedUpstream(["scripted", "other"]) as server:
        yield server


@pytest.fixture
async def redis(valkey: EmbeddedValkey) -> AsyncIterator[Redis]:
    """Yield a client of the fleet's own Valkey."""
    client = redis_client.connect(valkey.url())
    yield client
    await redis_client.close(client)


@pytest.fixture
def bounds() -> dict[str, str]:
    """Return how long the worker waits for the model server, where a test asks for other bounds than the usual ones."""
    return {}


@pytest.fixture
async def asked(
    fleet: Fleet, scripted: ScriptedUpstream, bounds: dict[str, str], eventually: Eventually
) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of a fleet whose only model server is the scripted one."""
    process = await fleet.api()
    await fleet.worker(CLAW_LOCAL_OPENAI_URL=scripted.url + "/v1", **bounds)
    await fleet.recorder()
    await ready(process, eventually)
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    async with httpx.AsyncClient(base_url=process.url, headers=headers, timeout=60) as client:
        yield client


async def forget_failures(redis: Redis) -> None:
    """Let nothing be known against the model server, so that the next request is tried like the first."""
    await redis.delete(*await redis.keys("claw:account:*"), "nothing")


def body(*, stream: bool) -> dict[str, Any]:
    """Return a request to the scripted model."""
    return {**chat(stream=stream), "model": "scripted"}


@pytest.mark.parametrize(("bounds", "cases"), [({}, BEFORE_CONTENT), (SILENT, SILENT_BEFORE)], ids=["bad", "silent"])
async def test_before_content_every_failure_keeps_a_status_of_its_own(  # noqa: PLR0917 -- fixtures
    cases: dict[str, tuple[Answer, int, str]],
    asked: httpx.AsyncClient,
    scripted: ScriptedUpstream,
    fleet: Fleet,
    redis: Redis,
    eventually: Eventually,
) -> None:
    """Streamed or not alike, and each is logged once, without a token."""
    for name, (answer, status, code) in cases.items():
        for stream in (True, False):
            await forget_failures(redis)
            scripted.add(answer)
            reply = await asked.post("/v1/chat/completions", json=body(stream=stream))
            assert (name, reply.status_code, reply.json()["error"]["code"]) == (name, status, code)
    rows = await usage_rows(fleet, eventually, 2 * len(cases))
    assert {(row["completion_tokens"], row["usage_source"]) for row in rows} == {(0, "none")}
    assert not any(row["status"] == 200 for row in rows)


@pytest.mark.parametrize(("bounds", "cases"), [({}, AFTER_CONTENT), (SILENT, SILENT_AFTER)], ids=["bad", "silent"])
async def test_after_content_every_failure_is_an_error_event(
    cases: dict[str, Answer],
    asked: httpx.AsyncClient,
    scripted: ScriptedUpstream,
    fleet: Fleet,
    eventually: Eventually,
) -> None:
    """What came is delivered and counted; no finish, no [DONE]; not streamed it is an error, never half an answer."""
    for name, answer in cases.items():
        scripted.add(answer)
        reply = await asked.post("/v1/chat/completions", json=body(stream=True))
        found = events(reply.text)
        assert (name, reply.status_code, content(found[:-1])) == (name, 200, "Hel")
        assert found[-1]["error"]["type"] == "server_error"
        assert not any(choice["finish_reason"] for chunk in found[:-1] for choice in chunk["choices"])
        scripted.add(answer)
        whole = await asked.post("/v1/chat/completions", json=body(stream=False))
        assert (name, whole.status_code) == (name, 502)
    rows = await usage_rows(fleet, eventually, 2 * len(cases))
    assert {(row["completion_tokens"], row["usage_source"]) for row in rows} == {(1, "estimated")}


async def test_the_upstreams_retry_after_reaches_a_client_without_the_patience_for_it(
    asked: httpx.AsyncClient, scripted: ScriptedUpstream, redis: Redis
) -> None:
    """In seconds, for 429 and 503: an end beyond the patience is not waited for."""
    for status, expected in ((503, 502), (429, 429)):
        await forget_failures(redis)
        scripted.add(json_answer({"error": {"message": "x"}}, status, headers={"retry-after": "400"}))
        reply = await asked.post("/v1/chat/completions", json=body(stream=True))
        assert reply.status_code == expected
        assert 300 < int(reply.headers["retry-after"]) <= 400
    assert len(scripted.requests) == 2


async def test_a_model_server_that_fails_is_asked_once_a_second_and_used_again_when_it_is_well(
    asked: httpx.AsyncClient, scripted: ScriptedUpstream, eventually: Eventually
) -> None:
    """It is the only one: everybody's request is tried in turn, and its error is that request's own."""
    scripted.fallback = json_answer({"error": {"message": "x"}}, 500)
    codes = set()
    for _ in range(8):
        reply = await asked.post("/v1/chat/completions", json=body(stream=False))
        codes.add((reply.status_code, reply.json()["error"]["code"]))
    assert codes == {(502, "upstream_unavailable")}
    assert len(scripted.requests) == 8
    assert reply.headers["retry-after"]
    scripted.fallback = sse(openai.text("Hel", "lo"))

    async def answers() -> bool:
        return (await asked.post("/v1/chat/completions", json=body(stream=False))).status_code == 200

    await eventually(answers)
    for _ in range(3):
        assert await answers()


@pytest.mark.parametrize("status", [403, 404])
async def test_a_model_that_the_upstream_does_not_give_is_a_404_and_closes_nothing_else(
    status: int, asked: httpx.AsyncClient, scripted: ScriptedUpstream
) -> None:
    """Whether it has no such model or the account may not use it: other models are served at once, and it is asked."""
    error = {"message": "no access", "type": "invalid_request_error", "param": None, "code": "model_not_found"}
    for _ in range(2):
        scripted.add(json_answer({"error": error}, status))
        refused = await asked.post("/v1/chat/completions", json=body(stream=False))
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
        scripted.add(sse(openai.text("Hel", "lo")))
        served = await asked.post("/v1/chat/completions", json={**body(stream=False), "model": "other"})
        assert served.status_code == 200
    scripted.add(sse(openai.text("Hel", "lo")))
    assert (await asked.post("/v1/chat/completions", json=body(stream=False))).status_code == 200


async def test_a_usage_of_zeros_beside_text_is_no_report(
    asked: httpx.AsyncClient, scripted: ScriptedUpstream, fleet: Fleet, eventually: Eventually
) -> None:
    """The tokens are estimated, and marked so; a count that stands is kept."""
    text = openai.chunk({"content": "Hel"}) + openai.chunk({"content": "lo"}) + openai.chunk(finish_reason="stop")
    for prompt, completion in ((0, 0), (7, 0), (7, 3)):
        scripted.add(sse(text + openai.chunk(usage=openai.usage(prompt, completion)) + openai.DONE))
        assert (await asked.post("/v1/chat/completions", json=body(stream=False))).status_code == 200
    rows = await usage_rows(fleet, eventually, 3)
    assert [row["usage_source"] for row in rows] == ["estimated", "estimated", "reported"]
    assert [row["completion_tokens"] for row in rows] == [2, 2, 3]
    assert rows[0]["prompt_tokens"] > 0
    assert [row["prompt_tokens"] for row in rows[1:]] == [7, 7]
