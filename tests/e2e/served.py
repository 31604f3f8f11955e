"""A gateway with one scripted model server behind it, whichever API that speaks: clients are told nothing of it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import httpx

from tests.fleet import PATIENCE_S, Fleet, ready
from tests.upstreams.openai import replies as chat_replies
from tests.upstreams.openai import responses as replies
from tests.upstreams.scripted import Act, Answer, ScriptedUpstream, sse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.conftest import Eventually

MODEL: Final = "gpt-6-luna"


@dataclass(frozen=True)
class Wire:
    """What a model says, in the API of its server.

    Args:
        text: a whole answer that says these pieces, one token each.
        first: the piece "first", and no end.
        calls: a whole answer that calls a tool, `call_1`: with its name, and its arguments in pieces.
        results: the texts of the tools' results that a request brings.
    """

    text: Callable[..., bytes]
    first: bytes
    calls: Callable[..., bytes]
    results: Callable[[dict[str, Any]], list[Any]]


def _chat_call(name: str, *pieces: str) -> bytes:
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": name}}
    more = [{"index": 0, "function": {"arguments": piece}} for piece in pieces]
    chunks = [chat_replies.chunk({"tool_calls": [one]}) for one in (call, *more)]
    usage = chat_replies.chunk(usage=chat_replies.usage(20, 9))
    return b"".join([*chunks, chat_replies.chunk(finish_reason="tool_calls"), usage, chat_replies.DONE])


def _call(name: str, *pieces: str) -> bytes:
    return replies.stream(replies.call(*pieces, name=name, call_id="call_1"), usage=replies.usage(20, 9))


CHAT: Final = Wire(
    text=chat_replies.text,
    first=chat_replies.chunk({"role": "assistant", "content": "first"}),
    calls=_chat_call,
    results=lambda body: [message["content"] for message in body["messages"] if message["role"] == "tool"],
)
RESPONSES: Final = Wire(
    text=replies.text,
    first=b"\n\n".join(replies.stream(replies.message("first")).split(b"\n\n")[:5]) + b"\n\n",
    calls=_call,
    results=lambda body: [item["output"] for item in body["input"] if item.get("type") == "function_call_output"],
)


@dataclass(frozen=True)
class Served:
    """A gateway, a key of it, and the model server behind it."""

    base_url: str
    secret: str
    upstream: ScriptedUpstream
    model: str
    wire: Wire

    def say(self, *pieces: str) -> Answer:
        """Return an answer of these pieces."""
        return sse(self.wire.text(*pieces))

    def call(self, name: str = "weather", *pieces: str) -> Answer:
        """Return an answer that calls a tool; the weather of Rome where nothing else is said."""
        return sse(self.wire.calls(name, *(pieces or ('{"city":', '"Rome"}'))))

    def hang(self) -> Answer:
        """Return an answer that goes on for ever after its first piece."""
        return sse(self.wire.first, Act.HANG)

    def breaks(self) -> Answer:
        """Return an answer that breaks off after its first piece."""
        return sse(self.wire.first, Act.ABORT)

    async def until_offered(self, eventually: Eventually) -> None:
        """Wait until the gateway knows its model: between tests nobody runs the server of it."""
        async with httpx.AsyncClient(
            trust_env=False, headers={"authorization": f"Bearer {self.secret}"}, timeout=PATIENCE_S
        ) as http:

            async def is_offered() -> bool:
                names = [model["id"] for model in (await http.get(f"{self.base_url}/models")).json()["data"]]
                return self.model in names

            await eventually(is_offered)

    def last_results(self) -> list[Any]:
        """Return the texts of the tools' results in the last request."""
        return self.wire.results(self.upstream.requests[-1].body)


@asynccontextmanager
async def openais_own(folder: Path, redis_url: str, database_url: str, eventually: Eventually) -> AsyncIterator[Served]:
    """Yield a gateway in front of OpenAI, which gets requests of the Responses API as they came."""
    async with ScriptedUpstream(models=(MODEL,)) as upstream, Fleet(folder, redis_url, database_url, {}) as fleet:
        api, secret = await fleet.api(), await fleet.key()
        await fleet.worker("paid", OPENAI_API_KEY="k", OPENAI_BASE_URL=f"{upstream.url}/v1")
        await ready(api, eventually)
        yield Served(f"{api.url}/v1", secret, upstream, MODEL, RESPONSES)
