"""Asks the gateway a question and passes on what its stream says."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import httpx
import msgspec

from cli.api_client import CONNECT_TIMEOUT_S, hint, is_here, reason_of
from cli.chat.events import EventReader, Failed, Served, UnreadableAnswer
from cli.tables import printable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from cli.chat.events import Event

SESSION_HEADER: Final = "x-nself-session-id"
TIER_HEADER: Final = "x-nself-tier"
SILENCE_S: Final = 120.0
"""A gateway that lives sends a comment far more often."""
_MOST_OF_AN_ERROR_BYTES: Final = 65_536


class AskFailed(Exception):
    """There is no answer, or not all of it; the text says why, to a person."""


class Connection(msgspec.Struct, frozen=True):
    """The gateway that is asked, and the credential. `given_url` is the one of `--url`, if any."""

    url: str
    headers: dict[str, str]
    given_url: str | None = None


class Question(msgspec.Struct, frozen=True):
    """A question and the model for it; without a session nothing is stored and nothing remembered."""

    text: str
    model: str
    tier: str | None = None
    session_id: str | None = None


def to_request(question: Question) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the body and the headers that ask it."""
    body = {
        "model": question.model,
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "user", "content": question.text}],
    }
    headers = {SESSION_HEADER: question.session_id, TIER_HEADER: question.tier}
    return body, {name: value for name, value in headers.items() if value is not None}


@asynccontextmanager
async def answer_stream(connection: Connection, question: Question) -> AsyncIterator[AsyncGenerator[Event, None]]:
    """Ask a question; give the events of the answer as they come. Leaving it ends the answer at the gateway too.

    Raises:
        AskFailed: the gateway cannot be reached, refuses, or breaks off.
    """
    body, headers = to_request(question)
    timeout = httpx.Timeout(SILENCE_S, connect=CONNECT_TIMEOUT_S)
    try:
        async with (
            httpx.AsyncClient(timeout=timeout, trust_env=not is_here(connection.url)) as client,
            client.stream(
                "POST",
                f"{connection.url}/v1/chat/completions",
                json=body,
                headers={**connection.headers, **headers},
            ) as response,
        ):
            if response.status_code != 200:
                raise AskFailed(await _refusal(response))
            yield _events(response)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise AskFailed(_broken(connection, error)) from None


def _broken(connection: Connection, error: Exception) -> str:
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.InvalidURL | ValueError):
        return (
            f"The gateway at {connection.url} cannot be reached: {error or type(error).__name__}. "
            f"{hint(connection.given_url)}"
        )
    if isinstance(error, httpx.TimeoutException):
        return f"The gateway at {connection.url} has been silent for {SILENCE_S:.0f} s."
    return f"The connection to the gateway broke: {error or type(error).__name__}."


async def _refusal(response: httpx.Response) -> str:
    raw = b""
    async for part in response.aiter_bytes():
        raw += part
        if len(raw) > _MOST_OF_AN_ERROR_BYTES:
            break
    try:
        answer = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        answer = None
    reason = printable(reason_of(answer) or response.reason_phrase)
    after = response.headers.get("retry-after", "")
    again = f" Try again in {after} s." if after.isascii() and after.isdigit() else ""
    return f"The gateway answered {response.status_code}: {reason}{again}"


async def _events(response: httpx.Response) -> AsyncGenerator[Event, None]:
    reader = EventReader()
    tier, model = response.headers.get("x-nself-tier"), response.headers.get("x-nself-model")
    if tier and model:
        yield Served(tier, unquote(model))
    has_failed = False
    async for received in response.aiter_bytes():
        try:
            events = reader.feed(received)
        except UnreadableAnswer as error:
            raise AskFailed(f"The server does not answer as the gateway does: {error}.") from None
        for event in events:
            has_failed = has_failed or isinstance(event, Failed)
            yield event
    # Where a proxy breaks off, the response may end like any other: only [DONE] says that it is whole.
    if not reader.is_done and not has_failed:
        raise AskFailed("The answer broke off: the connection ended before it did.")
