"""Redis connections: bounded, timed, to a master only, and one error for "Redis does not answer"."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, cast

from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.sentinel import SentinelConnectionPool, SentinelManagedConnection
from redis.exceptions import AuthenticationError, BusyLoadingError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared.redis.pipe import PipedRedis
from shared.redis.server_state import ServerState, is_no_master
from shared.redis.url import RedisUrl, parse_redis_url

if TYPE_CHECKING:
    import ssl


CONNECT_TIMEOUT_S: Final = 1.0
COMMAND_TIMEOUT_S: Final = 3.0
"""A server that waits for its disk is silent for two seconds before it says anything (appendfsync everysec)."""
POOL_SIZE: Final = 32
SENTINEL_TIMEOUT_S: Final = 0.5

UNREACHABLE: Final = (RedisError, OSError, asyncio.TimeoutError)
"""Errors of a command while Redis is down, restarting, loading or out of memory."""

_BOUNDS: Final[dict[str, Any]] = {
    "max_connections": POOL_SIZE,
    "timeout": COMMAND_TIMEOUT_S,
    "socket_connect_timeout": CONNECT_TIMEOUT_S,
    "socket_timeout": COMMAND_TIMEOUT_S,
    "socket_keepalive": True,
    # We do not name ourselves: a round trip less at each connection, and one permission less for an ACL.
    "lib_name": None,
    "lib_version": None,
}


class MasterConnection(AbstractConnection):
    """A connection that stays only while its server is the master.

    On a replica a subscription would seem to work, but nobody who publishes would know of it; commands that write
    fail. The role is asked for once, when the connection is made, and an answer that shows another ends it.
    """

    def __init__(self, *, server: ServerState, **options: Any) -> None:
        super().__init__(**options)
        self.server = server
        self.reign = server.reign

    @property
    def answer_s(self) -> float:
        """Return for how many seconds the server may be silent that has something to answer."""
        return self.socket_timeout or COMMAND_TIMEOUT_S

    @property
    def transport(self) -> asyncio.Transport:
        """Return the open transport under it."""
        if self._writer is None:
            raise RedisConnectionError("the connection is closed")
        return cast("asyncio.Transport", self._writer.transport)

    def to_error(self, text: str) -> Exception:
        """Return the exception for an answer that is an error."""
        error: Exception = self._parser.parse_error(text)  # type: ignore[no-untyped-call]  # redis-py has no types here
        return error

    @property
    def is_stale(self) -> bool:
        """Return whether another connection has found since that the server is not the master."""
        return self.reign != self.server.reign

    async def on_connect(self) -> None:
        await super().on_connect()
        # Before the role is asked for: a fail-over that another one notices meanwhile makes this one stale too.
        self.reign = self.server.reign
        # HELLO returns the role in the round trip that checks the connection; RESP2, as redis-py speaks it.
        await self.send_command("HELLO", 2)
        try:
            answer = await AbstractConnection.read_response(self)
        except ResponseError:  # a server that does not know HELLO
            return
        role = dict(zip(answer[::2], answer[1::2], strict=False)).get(b"role", b"master")
        if role != b"master":
            await self.disconnect(nowait=True)
            raise RedisConnectionError(f"the server is not the master but a {role.decode(errors='replace')}")

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:  # noqa: FBT001, FBT002 -- redis-py's signature
        if not self.is_connected:
            await self.connect()  # type: ignore[no-untyped-call]  # redis-py has no types here
        # redis-py's own bound is asyncio.wait_for: before Python 3.12 that returns, where it is cancelled in the moment
        # in which the writing has ended, and who was cancelled goes on as if nothing had been.
        timeout_s, self.socket_timeout = self.socket_timeout, None
        try:
            async with asyncio.timeout(timeout_s):
                await super().send_packed_command(command, check_health)
        except TimeoutError:
            raise RedisTimeoutError("Timeout writing to socket") from None
        finally:
            self.socket_timeout = timeout_s

    async def read_response(self, *arguments: Any, **named: Any) -> Any:
        try:
            # Not the one of a Sentinel's connection: that would hide from the others what it found.
            return await AbstractConnection.read_response(self, *arguments, **named)
        except (ResponseError, BusyLoadingError, AuthenticationError) as error:
            if is_no_master(error):
                self.server.end_reign(self.reign)
                await self.disconnect(nowait=True)
                raise RedisConnectionError(f"the server cannot serve as the master now: {error}") from error
            self.server.note_fault(error)
            raise


class _PlainConnection(MasterConnection, Connection):
    """A connection over TCP."""


class _SocketConnection(MasterConnection, UnixDomainSocketConnection):
    """A connection over a Unix socket."""


class _SharedTLS(SSLConnection):
    """A connection with a TLS context that it shares with others: making one takes 30 ms."""

    def __init__(self, *, tls: ssl.SSLContext, **options: Any) -> None:
        super().__init__(**options)
        self.ssl_context.context = tls


class _TLSConnection(MasterConnection, _SharedTLS):
    """A connection over TLS."""


class _SentinelConnection(MasterConnection, SentinelManagedConnection):
    """A connection to whom the Sentinels name, if that one agrees that it is the master."""


class _TLSSentinelConnection(_SentinelConnection, _SharedTLS):
    """The same over TLS."""


class _Sentinels:
    """Whom to ask for the address of the master.

    Args:
        clients: one for each Sentinel.
    """

    def __init__(self, clients: list[Redis]) -> None:
        self._clients = clients

    async def discover_master(self, name: str) -> tuple[str, int]:
        """Return the address of the master `name`, from the Sentinel that answered last time if it still does.

        Raises:
            ConnectionError: none of them knows a master of this name that is up.
        """
        for client in list(self._clients):
            try:
                state = (await client.sentinel_masters()).get(name)  # type: ignore[no-untyped-call]  # redis-py has no types here
            except UNREACHABLE:
                continue
            if state and state["is_master"] and not state["is_sdown"] and not state["is_odown"]:
                # To the front: it is asked first the next time.
                self._clients.remove(client)
                self._clients.insert(0, client)
                return state["ip"], state["port"]
        raise RedisConnectionError(f"no Sentinel knows a master {name!r} that is up")

    async def close(self) -> None:
        """Close the connections to them."""
        for client in self._clients:
            await close(client)


class _Pool(BlockingConnectionPool):
    """A bounded pool that waits, of connections to the current master."""

    async def ensure_connection(self, connection: AbstractConnection) -> None:
        if isinstance(connection, MasterConnection) and connection.is_stale:
            await connection.disconnect(nowait=True)
        await super().ensure_connection(connection)


class _SentinelPool(SentinelConnectionPool, _Pool):
    """The same, of connections to the master that Sentinels name."""

    sentinel_manager: _Sentinels

    async def ensure_connection(self, connection: AbstractConnection) -> None:
        # For all Sentinels together: they are asked one after the other, and each may be silent.
        async with asyncio.timeout(COMMAND_TIMEOUT_S):
            await super().ensure_connection(connection)

    async def disconnect(self, inuse_connections: bool = True) -> None:  # noqa: FBT001, FBT002 -- redis-py's signature
        await super().disconnect(inuse_connections)
        if inuse_connections:
            await self.sentinel_manager.close()


def connect(url: str, *, is_piped: bool = True) -> Redis:
    """Return a client of the Redis or Valkey at `url`; nothing is sent yet.

    Commands fail within about four seconds when the server does not answer: the pool is bounded and
    waits for a free connection no longer than a command may take. After a fail-over, by Sentinel or
    behind one address, new connections are to the new master, and those to the old one break.

    Args:
        url: where it is, and how to log in.
        is_piped: whether short commands share a connection; else each has one of the pool to itself.

    Raises:
        ValueError: the URL cannot be used; the text says why, without its password.
    """
    address = parse_redis_url(url)
    client = PipedRedis if is_piped else Redis
    if address.sentinels:
        return client(connection_pool=_sentinel_pool(address))
    if "path" in address.options:
        arguments = _pool_arguments(address, _SocketConnection)
        # Unix sockets do not know it.
        del arguments["socket_keepalive"]
    else:
        arguments = _pool_arguments(address, _PlainConnection if address.tls is None else _TLSConnection)
    return client(connection_pool=_Pool(**arguments))


def state_of(redis: Redis) -> ServerState:
    """Return what the connections of a client that `connect` made have learned of their server."""
    state: ServerState = redis.connection_pool.connection_kwargs["server"]
    return state


async def close(redis: Redis) -> None:
    """Close every connection of `redis`."""
    await redis.aclose(close_connection_pool=True)


def _pool_arguments(address: RedisUrl, connection: type[AbstractConnection]) -> dict[str, Any]:
    arguments = {**_BOUNDS, **address.options, "connection_class": connection, "server": ServerState()}
    if address.tls is not None:
        arguments["tls"] = address.tls
    return arguments


def _sentinel_pool(address: RedisUrl) -> _SentinelPool:
    options: dict[str, Any] = {
        **_BOUNDS,
        "socket_connect_timeout": SENTINEL_TIMEOUT_S,
        "socket_timeout": SENTINEL_TIMEOUT_S,
        **address.sentinel_login,
    }
    if address.tls is not None:
        options |= {"connection_class": _SharedTLS, "tls": address.tls}
    clients = [
        Redis(connection_pool=BlockingConnectionPool(host=host, port=port, **options))
        for host, port in address.sentinels
    ]
    connection = _SentinelConnection if address.tls is None else _TLSSentinelConnection
    return _SentinelPool(address.master, _Sentinels(clients), **_pool_arguments(address, connection))  # type: ignore[no-untyped-call]  # redis-py has no types here
