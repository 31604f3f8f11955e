"""Redis connections: bounded, timed, and one error for "Redis does not answer"."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.sentinel import SentinelConnectionPool, SentinelManagedConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from shared.redis.url import RedisUrl, parse_redis_url

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from redis.asyncio.client import PubSub
    from redis.asyncio.connection import AbstractConnection

CONNECT_TIMEOUT_S: Final = 1.0
COMMAND_TIMEOUT_S: Final = 1.5
POOL_SIZE: Final = 32
SENTINEL_TIMEOUT_S: Final = 0.5

UNREACHABLE: Final = (RedisError, OSError, asyncio.TimeoutError)
"""What a command raises while Redis is down, restarting, loading or out of memory."""

_BOUNDS: Final[dict[str, Any]] = {
    "max_connections": POOL_SIZE,
    "timeout": COMMAND_TIMEOUT_S,
    "socket_connect_timeout": CONNECT_TIMEOUT_S,
    "socket_timeout": COMMAND_TIMEOUT_S,
    "socket_keepalive": True,
}


class _TLSConnection(SSLConnection):
    """A connection with a TLS context that it shares with others: making one takes 30 ms."""

    def __init__(self, *, tls: ssl.SSLContext, **options: Any) -> None:
        super().__init__(**options)
        self.ssl_context.context = tls


class _MasterConnection(SentinelManagedConnection):
    """A connection to whom the Sentinels name, if that one agrees that it is the master.

    On a replica a subscription would seem to work, but nobody who publishes would know of it.
    """

    async def connect_to(self, address: tuple[str, int]) -> None:
        await super().connect_to(address)  # type: ignore[no-untyped-call]
        await self.send_command("HELLO", 2)
        try:
            answer = await self.read_response()
            role = dict(zip(answer[::2], answer[1::2], strict=False)).get(b"role", b"master")
        except ResponseError:  # a server that does not know HELLO
            return
        if role != b"master":
            await self.disconnect(nowait=True)
            raise RedisConnectionError(f"{address[0]}:{address[1]} is not the master")


class _TLSMasterConnection(_MasterConnection, _TLSConnection):
    """The same over TLS."""


class _Sentinels:
    """Whom to ask for the address of the master.

    Args:
        clients: one for each Sentinel.
    """

    def __init__(self, clients: list[Redis]) -> None:
        self._clients = clients

    async def discover_master(self, name: str) -> tuple[str, int]:
        """The address of the master `name`, from the Sentinel that answered last time if it still does.

        Raises:
            ConnectionError: none of them knows a master of this name that is up.
        """
        for client in list(self._clients):
            try:
                state = (await client.sentinel_masters()).get(name)  # type: ignore[no-untyped-call]
            except UNREACHABLE:
                continue
            if state and state["is_master"] and not state["is_sdown"] and not state["is_odown"]:
                self._clients.remove(client)
                self._clients.insert(0, client)
                return state["ip"], state["port"]
        raise RedisConnectionError(f"no Sentinel knows a master {name!r} that is up")

    async def close(self) -> None:
        """Close the connections to them."""
        for client in self._clients:
            await close(client)


class _MasterPool(SentinelConnectionPool, BlockingConnectionPool):
    """A bounded pool that waits, of connections to the current master."""

    sentinel_manager: _Sentinels

    async def ensure_connection(self, connection: AbstractConnection) -> None:
        async with asyncio.timeout(COMMAND_TIMEOUT_S):
            await super().ensure_connection(connection)

    async def disconnect(self, inuse_connections: bool = True) -> None:  # noqa: FBT001, FBT002 -- redis-py's signature
        await super().disconnect(inuse_connections)
        if inuse_connections:
            await self.sentinel_manager.close()


def connect(url: str) -> Redis:
    """A client of the Redis or Valkey at `url`; nothing is sent yet.

    Commands fail within about two seconds when the server does not answer: the pool is bounded and
    waits for a free connection no longer than a command may take. With Sentinel, a connection that is
    made after a fail-over is one to the new master, and those to the old one break.

    Raises:
        ValueError: the URL cannot be used; the text says why, without its password.
    """
    address = parse_redis_url(url)
    if address.sentinels:
        return Redis(connection_pool=_master_pool(address))
    if "path" in address.options:
        arguments = _pool_arguments(address, UnixDomainSocketConnection)
        del arguments["socket_keepalive"]
    else:
        arguments = _pool_arguments(address, Connection if address.tls is None else _TLSConnection)
    return Redis(connection_pool=BlockingConnectionPool(**arguments))


async def close(redis: Redis) -> None:
    """Close every connection of `redis`."""
    await redis.aclose(close_connection_pool=True)


@asynccontextmanager
async def subscription(redis: Redis, *channels: str) -> AsyncIterator[PubSub]:
    """A subscription to `channels`, made when this is entered; its connection is closed at the end.

    Raises:
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    pubsub = redis.pubsub()
    try:
        await pubsub.subscribe(*channels)
        for _ in channels:
            if await pubsub.get_message(timeout=COMMAND_TIMEOUT_S) is None:
                raise RedisConnectionError("the subscription is not confirmed")
        yield pubsub
    finally:
        await pubsub.aclose()  # type: ignore[no-untyped-call]


async def next_message(pubsub: PubSub, silence_s: float) -> tuple[bytes, bytes]:
    """The next message: its channel and its bytes.

    A subscriber that is never silent for long (each of ours sends itself a message every heartbeat)
    finds a dead connection by this.

    Raises:
        ConnectionError: nothing came for `silence_s` seconds.
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    while True:
        message = await pubsub.get_message(timeout=silence_s)
        if message is None:
            raise ConnectionError("the subscription is silent")
        if message["type"] == "message":
            return message["channel"], message["data"]


def _pool_arguments(address: RedisUrl, connection: type[AbstractConnection]) -> dict[str, Any]:
    arguments = {**_BOUNDS, **address.options, "connection_class": connection}
    if address.tls is not None:
        arguments["tls"] = address.tls
    return arguments


def _master_pool(address: RedisUrl) -> _MasterPool:
    options: dict[str, Any] = {
        **_BOUNDS,
        "socket_connect_timeout": SENTINEL_TIMEOUT_S,
        "socket_timeout": SENTINEL_TIMEOUT_S,
        **address.sentinel_login,
    }
    if address.tls is not None:
        options |= {"connection_class": _TLSConnection, "tls": address.tls}
    clients = [
        Redis(connection_pool=BlockingConnectionPool(host=host, port=port, **options))
        for host, port in address.sentinels
    ]
    connection = _MasterConnection if address.tls is None else _TLSMasterConnection
    return _MasterPool(address.master, _Sentinels(clients), **_pool_arguments(address, connection))  # type: ignore[no-untyped-call]
