"""Quart in the task that the server has made for a request.

Quart makes two of its own, one that handles and one that receives, since ASGI tells that a client has left only to who
receives. Where the server tells it otherwise, neither is needed: the body is received by who reads it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from quart import Request, Response
from quart.asgi import ASGIHTTPConnection
from quart.utils import encode_headers
from quart.wrappers.request import Body
from quart.wrappers.response import DataBody

from api.server.scope import ON_DISCONNECT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator


class PulledBody(Body):
    """A body that may be received by who reads it."""

    _receive: Callable[[], Awaitable[Any]] | None = None
    _is_complete = False

    def pull_from(self, receive: Callable[[], Awaitable[Any]]) -> None:
        """Receive it by `receive`, once it is read."""
        self._receive = receive

    def set_complete(self) -> None:
        """Note that nothing more of it comes, or is of use."""
        self._is_complete = True
        super().set_complete()

    def __await__(self) -> Generator[Any, None, Any]:
        yield from self._pull().__await__()
        return (yield from super().__await__())

    async def __anext__(self) -> bytes:
        await self._pull()
        return await super().__anext__()

    async def _pull(self) -> None:
        if self._receive is None:
            return
        while not self._is_complete:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                # The task that handles the request is being cancelled.
                await asyncio.Event().wait()
            self.append(message.get("body", b""))
            if not message.get("more_body", False):
                self.set_complete()


class RequestInTask(Request):
    """A request whose body may be pulled."""

    body_class = PulledBody


class TaskConnection(ASGIHTTPConnection):
    """One request of Quart's, in the task that calls it if the server lets it, and else as Quart does."""

    async def __call__(self, receive: Any, send: Any) -> None:
        """Answer the request."""
        on_disconnect = cast("dict[str, Any]", self.scope).get(ON_DISCONNECT)
        task = asyncio.current_task()
        if on_disconnect is None or task is None:
            await super().__call__(receive, send)
            return
        request = self._create_request_from_scope(send)
        if isinstance(request.body, PulledBody):
            request.body.pull_from(receive)
        # Once: a second cancellation would break off what the first one has begun to clear up.
        on_disconnect(lambda: task.cancelling() or task.cancel())
        response = cast("Response", await self.app.handle_request(request))
        start = {"type": "http.response.start", "status": response.status_code}
        await send(start | {"headers": encode_headers(response.headers)})
        if isinstance(response.response, DataBody):
            await send({"type": "http.response.body", "body": response.response.data, "more_body": False})
            return
        async with response.response as pieces:
            async for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
