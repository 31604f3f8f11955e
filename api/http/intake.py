"""Request bodies on their way in: none is read before a handler wants it, and all are bounded together.

A body that no handler wanted (the request was refused before) is received and dropped, so that the client, still
sending, gets to read why; not for long. Small bodies have arrived with their head and need none of this.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from api.server.scope import ON_DISCONNECT
from shared.errors import Overloaded

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

INTAKE: Final = "claw.intake"
"""The key in an ASGI scope under which a request with a large body finds its `Intake`."""
SMALL_BYTES: Final = 8192
LINGER_S: Final = 10.0
"""Time in which the rest of a refused body is dropped, before the connection is closed."""
_RETRY_S: Final = 2.0


class BodyBudget:
    """The bytes of large bodies that this process may hold at a time.

    Args:
        limit_bytes: for all of them together.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._left = limit_bytes

    def take(self, size: int) -> bool:
        """Reserve bytes, if so many are left; negative ones give back."""
        if size > self._left:
            return False
        self._left -= size
        return True


class Intake:
    """The large body of one request.

    Args:
        budget: of the process.
        size: in bytes; where the client does not say, the largest that is accepted.
        receive: the server's.
        send: the server's.
        is_pulled: whether nobody receives but who wants the body.
    """

    def __init__(self, budget: BodyBudget, size: int, receive: Any, send: Any, *, is_pulled: bool) -> None:
        self._budget = budget
        self._size = size
        self._taken = 0
        self._receive = receive
        self._send = send
        self._is_wanted = asyncio.Event()
        self._has_arrived = asyncio.Event()
        self._is_dropped = False
        self._is_pulled = is_pulled

    def admit(self) -> None:
        """Admit the body.

        Raises:
            Overloaded: the process holds as many bytes of bodies as it may.
        """
        if not self._budget.take(self._size):
            raise Overloaded("Too many large requests are being served already.", retry_after_s=_RETRY_S)
        self._taken = self._size
        self._is_wanted.set()

    def arrived(self, size: int) -> None:
        """Release what was reserved beyond the body's true size."""
        self._budget.take(size - self._taken)
        self._taken = size

    def close(self) -> None:
        """Release what is reserved; the request is over."""
        self.arrived(0)

    async def receive(self) -> Any:
        """Receive the next message, as the app does; waits until the body is wanted or the request was answered."""
        await self._is_wanted.wait()
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._has_arrived.set()
        elif self._is_dropped:
            # It is received only so that its client gets to read the answer.
            message["body"] = b""
        return message

    async def send(self, message: Any) -> None:
        """Send a message, as the app does. The response ends only when the request has, or `LINGER_S` later."""
        is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if is_last and not self._has_arrived.is_set():
            # All of the answer but its end: that would close the connection, before a client still sending reads it.
            await self._send({**message, "more_body": True})
            self._is_dropped = True
            self._is_wanted.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(LINGER_S):
                    await self._drop()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    async def _drop(self) -> None:
        """Wait until the rest of the body has come, and was dropped."""
        if not self._is_pulled:
            await self._has_arrived.wait()
        while not self._has_arrived.is_set():
            await self.receive()


class Intakes:
    """ASGI middleware that gives every request with a large body its `Intake`.

    Args:
        app: what it wraps.
        budget: of the process.
        largest_bytes: the largest body that is accepted.
    """

    def __init__(self, app: Callable[..., Coroutine[Any, Any, None]], budget: BodyBudget, largest_bytes: int) -> None:
        self._app = app
        self._budget = budget
        self._largest_bytes = largest_bytes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Call the app, with an intake in its scope where the body is large."""
        size = _declared(scope["headers"], self._largest_bytes) if scope["type"] == "http" else 0
        if size <= SMALL_BYTES:
            await self._app(scope, receive, send)
            return
        intake = scope[INTAKE] = Intake(self._budget, size, receive, send, is_pulled=ON_DISCONNECT in scope)
        try:
            await self._app(scope, intake.receive, intake.send)
        finally:
            intake.close()


def _declared(headers: Iterable[tuple[bytes, bytes]], largest_bytes: int) -> int:
    """Return how large a body is that may still be under way; the largest there can be where the head does not say."""
    for name, value in headers:
        if name == b"transfer-encoding":
            return largest_bytes
        if name == b"content-length":
            return int(value) if value.isdigit() else largest_bytes
    return 0
