"""What a model is given with the headers that add to a prompt: byte for byte, at every provider, streamed and not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest

from api.prompt.expert import expert
from tests.fleet import INTERNAL_SECRET, PATIENCE_S, Fleet, Process, chat
from tests.upstreams.anthropic import replies as anthropic_replies
from tests.upstreams.gemini import replies as gemini_replies
from tests.upstreams.numbered import NumberedUpstream
from tests.upstreams.ollama import replies as ollama_replies
from tests.upstreams.openai import replies as openai_replies
from tests.upstreams.scripted import Answer, ScriptedUpstream, ndjson, sse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import Eventually

TOKEN: Final = {"x-internal-token": INTERNAL_SECRET}
APP: Final = {"x-nself-app": "true"}
OWN: Final = "Answer in verse."
CONVERSATIONS: Final[dict[str, list[dict[str, Any]]]] = {
    "with instructions": [{"role": "system", "content": OWN}, {"role": "user", "content": "Hello"}],
    "without": [{"role": "user", "content": "Hello"}],
}
MODELS: Final = {
    "openai": "gpt-5.4-mini",
    "anthropic": "claude-sonnet-5",
    "gemini": "gemini-3.8-flash",
    "ollama": "scripted",
}


def answer(wire: str) -> Answer:
    """Return an answer of a provider's upstream."""
    if wire == "ollama":
        return ndjson(ollama_replies.text("Hel", "lo"))
    texts = {"openai": openai_replies, "anthropic": anthropic_replies, "gemini": gemini_replies}
    return sse(texts[wire].text("Hel", "lo"))


def expected(wire: str, system: str) -> bytes:
    """Return what a model is given: these instructions, and the user's `Hello`."""
    model, text = MODELS[wire], json.dumps(system, ensure_ascii=False)
    turns = f'[{{"role":"system","content":{text}}},{{"role":"user","content":"Hello"}}]'
    return {
        "openai": f'{{"model":"{model}","messages":{turns},"seed":7,"stream":true,'
        '"stream_options":{"include_usage":true}}',
        "anthropic": f'{{"model":"{model}","max_tokens":32000,'
        '"messages":[{"role":"user","content":[{"type":"text","text":"Hello"}]}],"stream":true,'
        f'"system":{text},"thinking":{{"type":"adaptive","display":"summarized"}}}}',
        "gemini": '{"contents":[{"role":"user","parts":[{"text":"Hello"}]}],'
        f'"systemInstruction":{{"parts":[{{"text":{text}}}]}},"generationConfig":{{"seed":7}}}}',
        "ollama": f'{{"model":"{model}","messages":{turns},"stream":true,"truncate":false,"shift":false,'
        '"options":{"seed":7,"num_ctx":8192}}',
    }[wire].encode()


class Recorder:
    """A provider's upstream that keeps what it is given, behind a gateway."""

    def __init__(self, wire: str, scripted: ScriptedUpstream, client: httpx.AsyncClient) -> None:
        self.wire = wire
        self.model = MODELS[wire]
        self.client = client
        self._scripted = scripted

    async def given(self, messages: list[dict[str, Any]], headers: dict[str, str], **fields: Any) -> bytes:
        """Return the body that the model's server gets for a request to the gateway."""
        self._scripted.add(answer(self.wire))
        body = {"model": self.model, "messages": messages, "seed": 7, **fields}
        reply = await self.client.post("/v1/chat/completions", json=body, headers=headers)
        assert reply.status_code == 200, reply.text
        assert "Hel" in reply.text
        return self._scripted.requests[-1].raw


@pytest.fixture(params=MODELS)
async def recorder(
    request: pytest.FixtureRequest, fleet: Fleet, client: httpx.AsyncClient, eventually: Eventually
) -> AsyncIterator[Recorder]:
    """Yield a recording upstream of each provider."""
    wire = request.param
    async with ScriptedUpstream(models=(MODELS[wire],)) as scripted:
        if wire == "ollama":
            await fleet.worker(CLAW_LOCAL_OPENAI_URL="", PLUGIN_OLLAMA_URL=scripted.url)
        else:
            base = scripted.url + ("/v1" if wire == "openai" else "")
            variables = {f"{wire.upper()}_API_KEY": "secret-of-the-upstream", f"{wire.upper()}_BASE_URL": base}
            await fleet.worker("gemini" if wire == "gemini" else "paid", **variables)

        async def offered() -> bool:
            return MODELS[wire] in {one["id"] for one in (await client.get("/v1/models")).json()["data"]}

        await eventually(offered)
        yield Recorder(wire, scripted, client)


@pytest.mark.parametrize("conversation", CONVERSATIONS)
async def test_the_expert_prompt_is_what_a_model_is_given_first(recorder: Recorder, conversation: str) -> None:
    """Byte for byte, in one text with the client's own instructions, streamed and not."""
    messages = CONVERSATIONS[conversation]
    own = [OWN] if messages[0]["role"] == "system" else []
    for stream in (False, True):
        given = await recorder.given(messages, APP, stream=stream)
        assert given == expected(recorder.wire, "\n\n".join([expert().text, *own]))
    assert await recorder.given(messages, {"x-nself-app": "false"}) == await recorder.given(messages, {})


ADMIN: Final = {"x-nself-admin": "true"}


@pytest.mark.parametrize("conversation", CONVERSATIONS)
async def test_the_snapshot_is_what_a_model_is_given(
    recorder: Recorder, fleet: Fleet, api: Process, conversation: str
) -> None:
    """Byte for byte, after the expert's prompt where both are asked for, streamed and not; a plain key gets 403."""
    messages = CONVERSATIONS[conversation]
    own = [OWN] if messages[0]["role"] == "system" else []
    refused = await recorder.client.post(
        "/v1/chat/completions", json={"model": recorder.model, "messages": messages}, headers=ADMIN
    )
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["param"]) == (403, "admin_not_allowed", "x-nself-admin")
    admin = ADMIN | {"authorization": f"Bearer {await fleet.key(admin_allowed=True)}"}
    context = await context_of(api)
    for stream in (False, True):
        given = await recorder.given(messages, admin, stream=stream)
        assert given == expected(recorder.wire, "\n\n".join([context, *own]))
        given = await recorder.given(messages, admin | APP, stream=stream)
        assert given == expected(recorder.wire, "\n\n".join([expert().text, context, *own]))
    assert await recorder.given(messages, {"x-nself-admin": "false"}) == await recorder.given(messages, {})


async def context_of(api: Process) -> str:
    """Return what admin mode tells a model now."""
    async with httpx.AsyncClient(base_url=api.url, headers=TOKEN, timeout=PATIENCE_S) as asking:
        return str((await asking.get("/claw/admin/context")).json()["context"])


async def test_what_is_added_is_counted_as_the_gateways(
    fleet: Fleet, client: httpx.AsyncClient, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """In the job, so in the log; a request without the header has none."""
    assert (await client.post("/v1/chat/completions", json=chat(), headers=APP)).status_code == 200
    assert (await client.post("/v1/chat/completions", json=chat())).status_code == 200
    assert upstream.requests[0]["messages"][0]["content"] == expert().text

    async def logged() -> list[dict[str, Any]]:
        rows = await fleet.usage()
        return rows if len(rows) == 2 else []

    rows = await eventually(logged)
    assert [row["added_tokens"] for row in rows] == [expert().tokens, 0]


async def test_a_prompt_that_fits_without_what_is_added_and_not_with_it_is_refused(
    fleet: Fleet, client: httpx.AsyncClient, eventually: Eventually
) -> None:
    """The context check counts both, before anything is asked of the model."""
    async with ScriptedUpstream(models=("short",), context_length=400) as scripted:
        await fleet.worker(CLAW_LOCAL_OPENAI_URL=f"{scripted.url}/v1")

        async def offered() -> bool:
            return "short" in {one["id"] for one in (await client.get("/v1/models")).json()["data"]}

        await eventually(offered)
        body = chat(model="short")
        refused = await client.post("/v1/chat/completions", json=body, headers=APP)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "context_length_exceeded")
        assert scripted.requests == []
        scripted.add(answer("openai"))
        assert (await client.post("/v1/chat/completions", json=body)).status_code == 200


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x-nself-app", "yes"),
        ("x-nself-admin", "1"),
        ("x-nself-knowledge", "TRUE"),
        ("x-nself-session-id", "my-session"),
    ],
)
async def test_a_wrong_value_is_refused_by_the_headers_name(
    header: str, value: str, client: httpx.AsyncClient, upstream: NumberedUpstream
) -> None:
    """In OpenAI's shape, and no model is asked."""
    refused = await client.post("/v1/chat/completions", json=chat(), headers={header: value})
    error = refused.json()["error"]
    assert (refused.status_code, error["param"], error["type"]) == (400, header, "invalid_request_error")
    assert error["code"] == "invalid_value"
    assert upstream.requests == []


async def test_a_new_session_adds_nothing_to_a_prompt(client: httpx.AsyncClient, upstream: NumberedUpstream) -> None:
    """There is nothing before its first question."""
    headers = {"x-nself-session-id": "0193f6b0-1111-7000-8000-000000000000"}
    assert (await client.post("/v1/chat/completions", json=chat(), headers=headers)).status_code == 200
    assert upstream.requests[0]["messages"] == chat()["messages"]
