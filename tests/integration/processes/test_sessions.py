"""A chat that is continued by its id: what models are given, what is stored, and who may."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

import httpx
import openai
import pytest

from shared.postgres.database import Database
from shared.postgres.sessions import SessionStore
from shared.redis.names import lease_key
from tests.fleet import INTERNAL_SECRET, PATIENCE_S, Fleet, Process, chat, ready
from tests.sessions import HEADER, PATH, ask, assistant, stored, until_stored, user
from tests.streams import Reader
from tests.upstreams.anthropic import replies as anthropic_replies
from tests.upstreams.gemini import replies as gemini_replies
from tests.upstreams.numbered import NumberedUpstream, words
from tests.upstreams.ollama import replies as ollama_replies
from tests.upstreams.openai import replies as openai_replies
from tests.upstreams.scripted import Answer, ScriptedUpstream, json_answer, ndjson, sse

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from tests.conftest import Eventually

MODELS: Final = {
    "openai": "gpt-5.4-mini",
    "anthropic": "claude-sonnet-5",
    "gemini": "gemini-3.8-flash",
    "ollama": "scripted",
}


def answer(wire: str, *texts: str) -> Answer:
    """Return an answer of a provider's upstream."""
    if wire == "ollama":
        return ndjson(ollama_replies.text(*texts))
    replies = {"openai": openai_replies, "anthropic": anthropic_replies, "gemini": gemini_replies}
    return sse(replies[wire].text(*texts))


def given(wire: str, texts: list[str], system: str) -> bytes:
    """Return what a provider's upstream is given of turns in which user and model take turns."""
    model = MODELS[wire]
    roles = [("user", "assistant")[number % 2] for number in range(len(texts))]
    messages = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]
    plain = json.dumps([{"role": "system", "content": system}, *messages], separators=(",", ":"))
    blocks = [
        {"role": role, "content": [{"type": "text", "text": text}]} for role, text in zip(roles, texts, strict=True)
    ]
    contents = [
        {"role": "model" if role == "assistant" else role, "parts": [{"text": text}]}
        for role, text in zip(roles, texts, strict=True)
    ]
    return {
        "openai": f'{{"model":"{model}","messages":{plain},"seed":7,"stream":true,'
        '"stream_options":{"include_usage":true}}',
        "anthropic": f'{{"model":"{model}","max_tokens":32000,'
        f'"messages":{json.dumps(blocks, separators=(",", ":"))},"stream":true,'
        f'"system":"{system}","thinking":{{"type":"adaptive","display":"summarized"}}}}',
        "gemini": f'{{"contents":{json.dumps(contents, separators=(",", ":"))},'
        f'"systemInstruction":{{"parts":[{{"text":"{system}"}}]}},"generationConfig":{{"seed":7}}}}',
        "ollama": f'{{"model":"{model}","messages":{plain},"stream":true,"truncate":false,"shift":false,'
        '"options":{"seed":7,"num_ctx":8192}}',
    }[wire].encode()


async def start_worker(fleet: Fleet, wire: str, scripted: ScriptedUpstream) -> Process:
    """Return a worker of a provider."""
    if wire == "ollama":
        return await fleet.worker(CLAW_LOCAL_OPENAI_URL="", PLUGIN_OLLAMA_URL=scripted.url)
    base = scripted.url + ("/v1" if wire == "openai" else "")
    variables = {f"{wire.upper()}_API_KEY": "secret-of-the-upstream", f"{wire.upper()}_BASE_URL": base}
    return await fleet.worker("gemini" if wire == "gemini" else "paid", **variables)


async def offered(client: httpx.AsyncClient, model: str, eventually: Eventually) -> None:
    """Wait until a model is there."""

    async def is_there() -> bool:
        return model in {one["id"] for one in (await client.get("/v1/models")).json()["data"]}

    await eventually(is_there)


@pytest.mark.parametrize("wire", MODELS)
async def test_a_model_is_given_what_was_said_before(
    fleet: Fleet, api: Process, client: httpx.AsyncClient, eventually: Eventually, wire: str
) -> None:
    """Byte for byte, at every provider, streamed and not, also after a restart of every process."""
    session = str(uuid4())
    async with ScriptedUpstream(models=(MODELS[wire],)) as scripted:
        await start_worker(fleet, wire, scripted)
        await offered(client, MODELS[wire], eventually)

        async def tell(asking: httpx.AsyncClient, *messages: dict[str, Any], **fields: Any) -> bytes:
            scripted.add(answer(wire, "Hel", "lo"))
            body = {"model": MODELS[wire], "messages": list(messages), "seed": 7, **fields}
            reply = await asking.post(PATH, json=body, headers={HEADER: session.upper()})
            assert reply.status_code == 200, reply.text
            assert reply.headers[HEADER] == session
            assert "Hel" in reply.text
            return scripted.requests[-1].raw

        first = await tell(client, {"role": "system", "content": "In verse."}, user("one"))
        assert first == given(wire, ["one"], "In verse.")
        # At once: it may not be in PostgreSQL yet.
        assert await tell(client, user("two"), stream=True) == given(wire, ["one", "Hello", "two"], "In verse.")
        third = await tell(client, {"role": "system", "content": "In prose."}, user("three"))
        assert third == given(wire, ["one", "Hello", "two", "Hello", "three"], "In prose.")
        await until_stored(fleet, session, 8, eventually)
        for process in fleet.processes:
            process.kill()
        del api
        again, worker = await fleet.api(), await start_worker(fleet, wire, scripted)
        await fleet.recorder()
        await ready(again, eventually)
        # The announcement of the one before may still stand.
        await eventually(lambda: "serving" in worker.log.read_text())
        async with httpx.AsyncClient(base_url=again.url, headers=client.headers, timeout=PATIENCE_S) as asking:
            await offered(asking, MODELS[wire], eventually)
            fourth = await tell(asking, user("four"))
        texts = ["one", "Hello", "two", "Hello", "three", "Hello", "four"]
        assert fourth == given(wire, texts, "In prose.")


def said(upstream: NumberedUpstream) -> list[str]:
    """Return the texts that the counting model was given last."""
    return [message["content"] for message in upstream.requests[-1]["messages"]]


async def test_a_session_is_of_one_key(
    fleet: Fleet, client: httpx.AsyncClient, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """Another key gets a 404 that names the header, before and after the turn is in PostgreSQL, and gives no hint."""
    session, secret = str(uuid4()), f"Bearer {await fleet.key()}"
    first = await ask(client, session, user("one"))
    assert (first.status_code, first.headers[HEADER]) == (200, session)
    for _ in range(2):
        other = await ask(client, session, user("two"), headers={"authorization": secret})
        error = other.json()["error"]
        assert (other.status_code, error["code"], error["param"]) == (404, "session_not_found", HEADER)
        assert HEADER not in other.headers
        await until_stored(fleet, session, 2, eventually)
    assert len(upstream.requests) == 1
    assert (await ask(client, session, user("two"))).status_code == 200
    assert said(upstream) == ["one", words(20), "two"]


async def test_of_two_keys_that_begin_a_session_at_once_one_gets_it(
    fleet: Fleet, client: httpx.AsyncClient, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """The other one gets a 404 while the first has not even been answered."""
    session, upstream.hold_at = str(uuid4()), 3
    first = asyncio.ensure_future(ask(client, session, user("one")))
    await eventually(lambda: upstream.held == 1)
    other = await ask(client, session, user("two"), headers={"authorization": f"Bearer {await fleet.key()}"})
    assert other.status_code == 404
    upstream.resume.set()
    assert (await first).status_code == 200
    assert [row[1] for row in await until_stored(fleet, session, 2, eventually)] == ["one", words(20)]


async def test_without_the_header_nothing_is_stored(
    fleet: Fleet, client: httpx.AsyncClient, redis: Redis, eventually: Eventually
) -> None:
    """Neither in PostgreSQL nor in Redis; and no header says otherwise."""
    reply = await client.post(PATH, json=chat())
    assert (reply.status_code, HEADER in reply.headers) == (200, False)

    async def recorded() -> bool:
        return len(await fleet.usage()) == 1

    await eventually(recorded)
    async with Database(fleet.database_url) as database:
        assert not await database.fetch("SELECT FROM np_claw_sessions")
    assert not [name async for name in redis.scan_iter("claw:session:*")]
    assert not [name async for name in redis.scan_iter("claw:turn:*")]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_second_request_waits_for_the_first_and_sees_its_turn(
    client: httpx.AsyncClient,
    upstream: NumberedUpstream,
    eventually: Eventually,
    redis: Redis,
    stream: bool,  # noqa: FBT001 -- pytest gives it by name
) -> None:
    """Two at once on one session."""
    session, upstream.hold_at = str(uuid4()), 3
    first = asyncio.ensure_future(ask(client, session, user("one"), stream=stream))
    await eventually(lambda: upstream.held == 1)
    second = asyncio.ensure_future(ask(client, session, user("two"), stream=stream))

    async def waits() -> bool:
        return bool(await redis.exists(f"claw:session:awaited:{session}"))

    await eventually(waits)
    assert len(upstream.requests) == 1
    upstream.resume.set()
    assert {reply.status_code for reply in await asyncio.gather(first, second)} == {200}
    assert said(upstream) == ["one", words(20), "two"]


async def test_a_session_that_stays_busy_is_a_409(
    client: httpx.AsyncClient, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """After as long as the client waits; the session goes on as if nobody had asked."""
    session, upstream.hold_at = str(uuid4()), 3
    first = asyncio.ensure_future(ask(client, session, user("one")))
    await eventually(lambda: upstream.held == 1)
    refused = await ask(client, session, user("two"), headers={"x-nself-max-wait-s": "0.1"})
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["param"]) == (409, "session_busy", HEADER)
    assert "retry-after" in refused.headers
    upstream.resume.set()
    assert (await first).status_code == 200
    assert (await ask(client, session, user("three"))).status_code == 200
    assert said(upstream) == ["one", words(20), "three"]


async def test_who_waits_for_a_session_and_leaves_holds_nobody_up(
    client: httpx.AsyncClient, upstream: NumberedUpstream, eventually: Eventually, redis: Redis
) -> None:
    """The next one gets the session as soon as it is free."""
    session, upstream.hold_at = str(uuid4()), 3
    first = asyncio.ensure_future(ask(client, session, user("one")))
    await eventually(lambda: upstream.held == 1)
    second = asyncio.ensure_future(ask(client, session, user("two")))

    async def waits() -> bool:
        return bool(await redis.exists(f"claw:session:awaited:{session}"))

    await eventually(waits)
    second.cancel()
    third = asyncio.ensure_future(ask(client, session, user("three")))
    upstream.resume.set()
    assert [reply.status_code for reply in await asyncio.gather(first, third)] == [200, 200]
    assert said(upstream) == ["one", words(20), "three"]


async def test_a_request_that_is_refused_frees_its_session(
    client: httpx.AsyncClient, upstream: NumberedUpstream, redis: Redis, eventually: Eventually
) -> None:
    """And leaves no turn; one that failed after its admission says the session's id, and leaves none either."""
    session = str(uuid4())
    refused = await ask(client, session, user("one"), model="nobody-has-it")
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")

    async def is_free() -> bool:
        return not await redis.exists(lease_key(session))

    await eventually(is_free)
    upstream.failures = [500] * 20
    failed = await ask(client, session, user("one"))
    assert (failed.status_code, failed.headers[HEADER]) == (502, session)
    upstream.failures = []
    assert (await ask(client, session, user("two"))).status_code == 200
    assert said(upstream) == ["two"]


async def test_a_client_that_leaves_has_said_what_came_so_far(
    fleet: Fleet, client: httpx.AsyncClient, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """Stored as cancelled, and part of the history of the next request."""
    session, upstream.hold_at = str(uuid4()), 7
    reader = asyncio.ensure_future(ask(client, session, user("one"), stream=True))
    await eventually(lambda: upstream.held == 1)
    reader.cancel()
    found = await until_stored(fleet, session, 2, eventually)
    assert found == [("user", "one", "complete"), ("assistant", words(7), "cancelled")]
    upstream.hold_at = None
    assert (await ask(client, session, user("two"))).status_code == 200
    assert said(upstream) == ["one", words(7), "two"]


async def test_an_answer_that_breaks_off_is_stored_so(
    fleet: Fleet, client: httpx.AsyncClient, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """A stream that its upstream cuts, as broken."""
    session, upstream.cut_at = str(uuid4()), 5
    assert (await ask(client, session, user("one"), stream=True)).status_code == 200
    found = await until_stored(fleet, session, 2, eventually)
    assert found == [("user", "one", "complete"), ("assistant", words(5), "broken")]


async def test_a_client_that_keeps_the_conversation_does_not_double_it(
    fleet: Fleet, client: httpx.AsyncClient, upstream: NumberedUpstream, api: Process, eventually: Eventually
) -> None:
    """OpenAI's client sends everything each time, its own copies of answers among it, and asks for one anew."""
    session = str(uuid4())
    key = client.headers["authorization"].removeprefix("Bearer ")
    messages: list[Any] = [{"role": "system", "content": "In verse."}]
    async with openai.AsyncOpenAI(
        base_url=f"{api.url}/v1", api_key=key, default_headers={HEADER: session}, max_retries=0
    ) as sdk:
        for text in ("one", "two", "three"):
            messages.append(user(text))
            completion = await sdk.chat.completions.create(model="numbered", messages=messages)
            messages.append(completion.choices[0].message)
        said_by_client = ["In verse.", "one", words(20), "two", words(20), "three"]
        assert said(upstream) == said_by_client
        # The last answer anew, then another last question.
        await sdk.chat.completions.create(model="numbered", messages=messages[:-1])
        assert said(upstream) == said_by_client
        messages[-2:] = [user("3")]
        await sdk.chat.completions.create(model="numbered", messages=messages)
        assert said(upstream) == [*said_by_client[:-1], "3"]

    async def is_replaced() -> bool:
        return [row[1] for row in await stored(fleet, session)] == [*said_by_client[:-1], "3", words(20)]

    await eventually(is_replaced)
    assert (await ask(client, session, user("four"))).status_code == 200
    assert said(upstream) == [*said_by_client[:-1], "3", words(20), "four"]


async def test_tools_are_called_over_a_session(
    fleet: Fleet, api: Process, client: httpx.AsyncClient, eventually: Eventually
) -> None:
    """OpenAI's client sends the result alone: the model is given the call before it, and both the next time."""
    session, model = str(uuid4()), MODELS["openai"]
    key = client.headers["authorization"].removeprefix("Bearer ")
    tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    async with (
        ScriptedUpstream(models=(model,)) as scripted,
        openai.AsyncOpenAI(
            base_url=f"{api.url}/v1", api_key=key, default_headers={HEADER: session}, max_retries=0
        ) as sdk,
    ):
        await start_worker(fleet, "openai", scripted)
        await offered(client, model, eventually)

        async def create(*messages: Any) -> Any:
            reply = await sdk.chat.completions.create(model=model, messages=list(messages), tools=tools)
            return reply.choices[0].message

        pieces = [
            {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}},
            {"index": 0, "function": {"arguments": '{"city":"Bonn"}'}},
        ]
        called = [openai_replies.chunk({"tool_calls": [piece]}) for piece in pieces]
        ended = [
            openai_replies.chunk(finish_reason="tool_calls"),
            openai_replies.chunk(usage=openai_replies.usage(7, 3)),
        ]
        scripted.add(sse(*called, *ended, openai_replies.DONE))
        message = await create(user("What is the weather in Bonn?"))
        (call,) = message.tool_calls
        scripted.add(answer("openai", "Rain"), answer("openai", "Yes"))
        result = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
        assert (await create(result)).content == "Rain"
        assert (await create(user("An umbrella?"))).content == "Yes"
        given_last = scripted.requests[-1].body["messages"]
    calls = [{"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Bonn"}'}}]
    assert given_last == [
        user("What is the weather in Bonn?"),
        {"role": "assistant", "content": None, "tool_calls": calls},
        result,
        assistant("Rain"),
        user("An umbrella?"),
    ]


async def test_the_oldest_turns_are_left_out_where_a_model_has_no_room(
    fleet: Fleet, api: Process, client: httpx.AsyncClient, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """Each model that serves gets as much as its own context holds, also after the first one has failed."""
    session, small, large = str(uuid4()), "scripted", MODELS["gemini"]
    async with (
        ScriptedUpstream(models=(small,), context_length=4096) as local,
        ScriptedUpstream(models=(large,), context_length=100_000) as gemini,
    ):
        del api
        local.fallback, gemini.fallback = answer("openai", "yes"), answer("gemini", "yes")
        await fleet.worker(CLAW_LOCAL_OPENAI_URL=f"{local.url}/v1")
        await start_worker(fleet, "gemini", gemini)
        await offered(client, small, eventually)
        await offered(client, large, eventually)
        long = [f"{number} " + "word " * 1000 for number in range(5)]
        for text in long:
            assert (await ask(client, session, user(text), model=small)).status_code == 200
        assert (await ask(client, session, user("short"), model=small)).status_code == 200
        texts = [message["content"] for message in local.requests[-1].body["messages"]]
        assert texts == [long[4], "yes", "short"]
        local.fallback, upstream.failures = None, [500] * 20
        assert (await ask(client, session, user("other"), model="auto")).status_code == 200
        parts = [turn["parts"][0]["text"] for turn in gemini.requests[-1].body["contents"]]
        assert parts == [*(part for text in long for part in (text, "yes")), "short", "yes", "other"]


async def test_a_history_that_a_model_takes_for_too_long_becomes_shorter(
    fleet: Fleet, api: Process, client: httpx.AsyncClient, eventually: Eventually
) -> None:
    """Lengths are estimated: what its server refuses is asked again with half of the turns."""
    del api
    session, model = str(uuid4()), "scripted"
    async with ScriptedUpstream(models=(model,)) as scripted:
        scripted.fallback = answer("openai", "yes")
        await fleet.worker(CLAW_LOCAL_OPENAI_URL=f"{scripted.url}/v1")
        await offered(client, model, eventually)
        for text in "abcd":
            assert (await ask(client, session, user(text), model=model)).status_code == 200
        refusal = {"message": "too long", "type": "invalid_request_error", "code": "context_length_exceeded"}
        scripted.add(json_answer({"error": refusal}, status=400))
        assert (await ask(client, session, user("e"), model=model)).status_code == 200
        texts = [[message["content"] for message in one.body["messages"]] for one in scripted.requests[-2:]]
        assert texts[0] == ["a", "yes", "b", "yes", "c", "yes", "d", "yes", "e"]
        assert texts[1] == ["c", "yes", "d", "yes", "e"]


async def test_a_model_that_cannot_hear_is_told_that_there_was_a_sound(
    fleet: Fleet, client: httpx.AsyncClient, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """No model is left out for what was said earlier; one that can is given it."""
    session, model = str(uuid4()), MODELS["anthropic"]
    sound = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
    heard = {"role": "user", "content": [{"type": "text", "text": "hear"}, sound]}
    assert (await ask(client, session, heard)).status_code == 200
    assert (await ask(client, session, user("again"))).status_code == 200
    assert upstream.requests[-1]["messages"][0] == heard
    async with ScriptedUpstream(models=(model,)) as scripted:
        await start_worker(fleet, "anthropic", scripted)
        await offered(client, model, eventually)
        scripted.add(answer("anthropic", "No"))
        assert (await ask(client, session, user("you?"), model=model)).status_code == 200
        texts = [part["text"] for part in scripted.requests[-1].body["messages"][0]["content"]]
    assert texts == ["hear", "(There was a sound here.)"]


async def test_a_large_image_is_not_kept_and_a_large_text_is_refused(
    fleet: Fleet, client: httpx.AsyncClient, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """The model is given it once, later a note in its place; of a text nothing may be lost."""
    session = str(uuid4())
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 400_000}}
    seeing = {"role": "user", "content": [{"type": "text", "text": "see"}, image]}
    assert (await ask(client, session, seeing)).status_code == 200
    assert upstream.requests[-1]["messages"] == [seeing]
    assert (await ask(client, session, user("two"))).status_code == 200
    noted = {"role": "user", "content": [seeing["content"][0], {"type": "text", "text": "(There was an image here.)"}]}
    assert upstream.requests[-1]["messages"][0] == noted
    # Its own copy is known again all the same.
    assert (await ask(client, session, seeing, assistant(words(20)), user("two"))).status_code == 200
    assert len(upstream.requests[-1]["messages"]) == 3
    large = await ask(client, session, user("x" * 1_100_000))
    assert (large.status_code, large.json()["error"]["code"]) == (400, "session_turn_too_large")
    await until_stored(fleet, session, 4, eventually)


async def test_what_was_said_in_a_session_is_stored_byte_for_byte(
    fleet: Fleet, client: httpx.AsyncClient, eventually: Eventually
) -> None:
    """The client's own JSON, with NUL, half a surrogate and blanks; and what is known of the answer."""
    session = str(uuid4())
    raw = b'{ "role":"user",  "content" : "a\\u0000b \\u00e9" }'
    body = b'{"model":"numbered","messages":[' + raw + b"]}"
    reply = await client.post(PATH, content=body, headers={HEADER: session, "content-type": "application/json"})
    assert reply.status_code == 200
    await until_stored(fleet, session, 2, eventually)
    async with Database(fleet.database_url) as database:
        kept = await SessionStore(database).history(UUID(session))
        (row,) = await database.fetch("SELECT * FROM np_claw_messages WHERE role = 'assistant'")
    assert kept[0].message.encode() == raw
    assert (row["tier_source"], row["model_used"], row["output_tokens"]) == ("local", "numbered", 20)
    assert json.loads(kept[1].message) == assistant(words(20))


async def test_erasing_a_key_ends_what_it_asks(
    client: httpx.AsyncClient, fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """Its model is stopped, and nothing of the chat is stored."""
    session = str(uuid4())
    upstream.hold_at = 3
    client.headers[HEADER] = session
    reader = Reader(client, messages=[user("one")])
    await eventually(lambda: reader.content == words(3))
    async with Database(fleet.database_url) as database:
        (key,) = await database.fetch("SELECT id FROM np_claw_api_keys")
    headers = {"x-internal-token": INTERNAL_SECRET}
    reply = await client.post(f"/claw/v1/api-keys/{key['id']}/erase", headers=headers)
    assert reply.status_code == 200, reply.text
    await reader.task
    assert reader.error["code"] == "request_cancelled"
    await eventually(lambda: upstream.aborted == 1)

    async def recorded() -> bool:
        return [row["key_id"] for row in await fleet.usage()] == [UUID(int=0)]

    await eventually(recorded)
    assert await stored(fleet, session) == []
