"""An upstream's answer that would hold a worker's event loop: read in portions, or refused before it is decoded."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.attack.meters import holding_nobody, loop_bound_s
from tests.fleet import PATIENCE_S, chat, ready
from tests.upstreams.openai import replies as openai
from tests.upstreams.scripted import Answer, ScriptedUpstream, json_answer, sse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import Eventually
    from tests.fleet import Fleet

MIB = 1024 * 1024
MILLIONS = b'"choices":[],"x":[' + b"[]," * (4 * MIB) + b"[]]}"
ANSWERS = {
    "an event": sse(b"data: {" + MILLIONS + b"\n\n"),
    "an event of many lines": sse(b"data: {" + MILLIONS.replace(b"[],[],[],[],", b"[],[],[],[],\ndata: ") + b"\n\n"),
    "a body": Answer([b"{" + MILLIONS], headers={"content-type": "application/json"}),
}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOO_MANY = {
    "choices": sse(openai.event({"choices": [{"index": n, "delta": {"content": "x"}} for n in range(20_000)]})),
    "calls": sse(b"".join(openai.chunk({"tool_calls": [{"index": n, **CALL}]}) for n in range(20_000))),
}
LONG = "w" * 300_000
LONG_WORDS = {
    "a service tier": sse(openai.event({"choices": [], "service_tier": LONG}), openai.text("end")),
    "an end": sse(openai.chunk({"content": "end"}), openai.event({"choices": [{"index": 0, "finish_reason": LONG}]})),
}
"""Words that stand in frames, or are compared with known ones."""
TOKENS = 20_000
MANY = openai.chunk({"content": "x"}) * TOKENS + openai.text("end")


def framed(content: bytes) -> Answer:
    """Return a chunk for each byte."""
    body = b"1\r\n%b\r\n" % b"\r\n1\r\n".join(memoryview(content).cast("c")) + b"0\r\n\r\n"
    return Answer([body], headers={"transfer-encoding": "chunked"}, framing="close")


AT_ONCE = {
    "events": sse(MANY),
    "a chunk for each byte": framed(MANY[-2 * MIB :]),
    "empty events": sse(b"data:\n\n" * 10 * TOKENS, MANY),
    "compressed events": Answer([gzip.compress(MANY)], headers={"content-encoding": "gzip"}),
}
"""Answers of megabytes that a server sends as fast as it can."""
UPSTREAM_HTTP = [{}, {"CLAW_UPSTREAM_HTTP": "aiohttp"}]


@pytest.fixture
def fleet_environment(request: pytest.FixtureRequest) -> dict[str, str]:
    """Return what has every process watch its event loop, and for some tests who talks to model servers."""
    return {"CLAW_LOOP_WATCH_S": str(loop_bound_s()), **getattr(request, "param", {})}


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedUpstream]:
    """Yield the only model server."""
    async with ScriptedUpstream(["scripted"]) as upstream:
        yield upstream


@pytest.fixture
async def client(fleet: Fleet, scripted: ScriptedUpstream, eventually: Eventually) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of an api with one worker, both ready."""
    api = await fleet.api()
    await fleet.worker(CLAW_LOCAL_OPENAI_URL=f"{scripted.url}/v1")
    await ready(api, eventually)
    headers = {"authorization": f"Bearer {await fleet.key()}"}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=PATIENCE_S) as asking:
        yield asking


async def asked(client: httpx.AsyncClient, fleet: Fleet) -> httpx.Response:
    """Ask for an answer that holds nobody."""
    return await holding_nobody(fleet, lambda: client.post("/v1/chat/completions", json=chat(model="scripted")))


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_of_millions_of_values_is_a_failure_that_holds_nobody(
    client: httpx.AsyncClient, fleet: Fleet, scripted: ScriptedUpstream, name: str
) -> None:
    """Its other streams go on meanwhile."""
    scripted.fallback = ANSWERS[name]
    reply = await asked(client, fleet)
    assert (reply.status_code, reply.json()["error"]["code"]) == (502, "upstream_garbled")
    assert "JSON values" in reply.json()["error"]["message"]


@pytest.mark.parametrize("name", TOO_MANY)
async def test_an_answer_of_more_than_anybody_asks_for_is_a_failure_that_holds_nobody(
    client: httpx.AsyncClient, fleet: Fleet, scripted: ScriptedUpstream, name: str
) -> None:
    """What is made of all of them at the end of an answer is made in one step."""
    scripted.fallback = TOO_MANY[name]
    reply = await asked(client, fleet)
    assert (reply.status_code, reply.json()["error"]["code"]) == (502, "upstream_garbled")


@pytest.mark.parametrize("name", LONG_WORDS)
async def test_a_word_of_300_kb_is_a_word(
    client: httpx.AsyncClient, fleet: Fleet, scripted: ScriptedUpstream, name: str
) -> None:
    """It was more than a frame may hold: 500 instead of the answer."""
    scripted.fallback = LONG_WORDS[name]
    reply = await asked(client, fleet)
    assert reply.json()["choices"][0]["message"]["content"] == "end", reply.text[:300]


async def test_an_answer_of_many_bytes_is_an_answer(
    client: httpx.AsyncClient, fleet: Fleet, scripted: ScriptedUpstream
) -> None:
    """An image, say."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * (8 * MIB)}}
    scripted.fallback = sse(openai.chunk({"images": [image]}), openai.text("See"))
    reply = await asked(client, fleet)
    message = reply.json()["choices"][0]["message"]
    assert (message["content"], message["images"]) == ("See", [image])


@pytest.mark.parametrize("fleet_environment", UPSTREAM_HTTP, indirect=True, ids=["direct", "as over TLS"])
@pytest.mark.parametrize("name", AT_ONCE)
async def test_an_answer_that_comes_at_once_holds_nobody(
    client: httpx.AsyncClient, fleet: Fleet, scripted: ScriptedUpstream, name: str
) -> None:
    """It is read in portions, between which other streams go on."""
    scripted.fallback = AT_ONCE[name]
    reply = await asked(client, fleet)
    assert reply.status_code == 200, reply.text[:300]
    assert reply.json()["choices"][0]["message"]["content"].endswith("xend")


async def test_a_request_that_a_router_flags_closes_nothing(
    client: httpx.AsyncClient, fleet: Fleet, scripted: ScriptedUpstream
) -> None:
    """Its 403 is about what that client wrote: it was taken for a credential that is refused, for everybody."""
    metadata = {"reasons": ["violence"], "flagged_input": "...", "provider_name": "x", "model_slug": "scripted"}
    flagged = {"error": {"code": 403, "message": "Your input was flagged.", "metadata": metadata}}
    scripted.add(json_answer(flagged, status=403), sse(openai.text("fine")))
    reply = await client.post("/v1/chat/completions", json=chat(model="scripted"))
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "content_policy_violation")
    assert "flagged" in reply.json()["error"]["message"]
    reply = await client.post("/v1/chat/completions", json=chat(model="scripted"))
    assert reply.json()["choices"][0]["message"]["content"] == "fine"
    assert not any("credential" in process.log.read_text() for process in fleet.processes)
