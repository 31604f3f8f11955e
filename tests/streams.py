"""Reading streams and the usage log in tests."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from tests.fleet import chat

if TYPE_CHECKING:
    import httpx

    from tests.conftest import Eventually
    from tests.fleet import Fleet


def events(text: str) -> list[Any]:
    """Return the data events of an SSE stream; [DONE] as None."""
    found = [part[6:] for part in text.split("\n\n") if part.startswith("data: ")]
    return [None if one == "[DONE]" else json.loads(one) for one in found]


def content(chunks: list[Any]) -> str:
    """Return what the chunks say."""
    return "".join(
        choice["delta"].get("content") or "" for chunk in chunks if chunk for choice in chunk.get("choices", [])
    )


class Reader:
    """One stream that is being read by a task of its own.

    Attributes:
        text: what has come so far.
        status: of the response, once its head is there.
    """

    def __init__(self, client: httpx.AsyncClient, **fields: Any) -> None:
        self.text = ""
        self.status = 0
        self.task = asyncio.ensure_future(self._read(client, chat(stream=True, **fields)))

    async def _read(self, client: httpx.AsyncClient, body: dict[str, Any]) -> None:
        async with client.stream("POST", "/v1/chat/completions", json=body) as reply:
            self.status = reply.status_code
            async for piece in reply.aiter_text():
                self.text += piece

    @property
    def content(self) -> str:
        """Return the words so far."""
        return content(events(self.text.rpartition("\n\n")[0] + "\n\n"))

    @property
    def done(self) -> bool:
        """Return whether the end mark has come."""
        return self.text.endswith("data: [DONE]\n\n")

    @property
    def error(self) -> Any:
        """Return the error event that the stream ended with, if it did."""
        last = events(self.text)[-1:]
        return last[0].get("error") if last and last[0] else None


async def usage_rows(fleet: Fleet, eventually: Eventually, count: int, *endpoints: str) -> list[dict[str, Any]]:
    """Return the usage log, once it has `count` rows and nothing is open any more."""

    async def enough() -> list[dict[str, Any]]:
        rows = await fleet.usage(*endpoints)
        return rows if len(rows) >= count else []

    rows: list[dict[str, Any]] = await eventually(enough)
    assert len(rows) == count
    assert len({row["request_id"] for row in rows}) == count
    return rows
