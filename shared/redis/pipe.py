"""A client whose short commands share one connection, where redis-py's takes one out of its pool for each.

Connecting, TLS, logging in and finding the master stay redis-py's. So does all that may be large or take its time: what
blocks, what is long, and what answers at length would hold up everybody else (docs/decisions/0031-redis-pipe.md).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import hiredis
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError

from shared.redis.pipelined_connection import ConnectionFull, PipelinedConnection
from shared.redis.scripts import digest_of, may_be_long

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis.asyncio import ConnectionPool
    from redis.asyncio.connection import AbstractConnection

LONGEST_BYTES: Final = 64 * 1024
"""Of one command, or of a pipeline. What is longer has a connection of its own."""
SHORT: Final = frozenset(
    {
        *("PUBLISH", "EVAL", "EVALSHA", "SET", "DEL", "EXISTS", "EXPIRE", "PEXPIRE", "TTL", "PTTL", "INCR", "PING"),
        *("HSET", "HDEL", "HEXISTS", "HLEN", "HINCRBY", "SADD", "SREM", "SCARD", "SISMEMBER", "RPUSH", "LLEN"),
        *("ZADD", "ZREM", "ZCARD", "ZCOUNT", "ZSCORE", "XADD", "XACK", "XDEL", "XLEN"),
    }
)
"""Commands that do not block and answer briefly."""
_MULTI: Final = hiredis.pack_command(("MULTI",))
_EXEC: Final = hiredis.pack_command(("EXEC",))


class Pipe:
    """The line of a client, made when it is needed, and anew when it has broken.

    Args:
        pool: lends it its connection.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._line: PipelinedConnection | None = None
        self._connecting: asyncio.Task[PipelinedConnection] | None = None
        self._returning: set[asyncio.Task[None]] = set()

    async def line(self) -> PipelinedConnection:
        """Return a line that can be used.

        Raises:
            RedisError, OSError, TimeoutError: Redis cannot be reached (`UNREACHABLE`).
        """
        if self._line is not None and self._line.is_usable:
            return self._line
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect())
            self._connecting.add_done_callback(self._connected)
        # One attempt for all that wait: who is cancelled does not end it for the others.
        return await asyncio.shield(self._connecting)

    async def close(self) -> None:
        """Close the line and give its connection back."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        if self._line is not None:
            self._line.end("the client is closed")
        if self._returning:
            await asyncio.wait(self._returning)

    async def _connect(self) -> PipelinedConnection:
        connection: Any = await self._pool.get_connection()

        def give_back() -> None:
            task = asyncio.ensure_future(self._give_back(connection))
            self._returning.add(task)
            task.add_done_callback(self._returning.discard)

        line = self._line = PipelinedConnection(connection, give_back)
        return line

    def _connected(self, task: asyncio.Task[PipelinedConnection]) -> None:
        self._connecting = None
        if not task.cancelled():
            task.exception()  # seen: those who waited may all be gone

    async def _give_back(self, connection: AbstractConnection) -> None:
        await connection.disconnect(nowait=True)
        await self._pool.release(connection)


class PipedRedis(Redis):
    """A client of redis-py whose short commands and pipelines go through a pipe."""

    def __init__(self, *, connection_pool: ConnectionPool) -> None:
        super().__init__(connection_pool=connection_pool)
        self._pipe = Pipe(connection_pool)

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Execute a command; return its answer.

        Raises:
            RedisError, OSError, TimeoutError: as redis-py does.
        """
        if is_short(args) and (packed := hiredis.pack_command(args)) and len(packed) <= LONGEST_BYTES:
            line = await self._pipe.line()
            try:
                (answer,) = await line.send(packed, 1)
            except ConnectionFull:
                return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]  # redis-py has no types here
            if isinstance(answer, Exception):
                raise answer
            return read_answer(self.response_callbacks, args[0], answer, options)
        return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]  # redis-py has no types here

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:  # noqa: FBT001, FBT002 -- redis-py's signature
        """Return a pipeline; it goes through the pipe where all of its commands are short."""
        return PipedPipeline(self._pipe, self.connection_pool, self.response_callbacks, transaction, shard_hint)

    async def aclose(self, close_connection_pool: bool | None = None) -> None:  # noqa: FBT001 -- redis-py's signature
        """Close the pipe, and what redis-py closes."""
        await self._pipe.close()
        await super().aclose(close_connection_pool)


class PipedPipeline(Pipeline):
    """A pipeline of redis-py's that is sent through a pipe. Scripts that the server knows are named, not sent."""

    def __init__(self, pipe: Pipe, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._pipe = pipe

    async def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: FBT001, FBT002 -- redis-py's signature
        """Execute what was added; return the answers.

        Raises:
            RedisError, OSError, TimeoutError: as redis-py does.
        """
        stack = self.command_stack
        if not stack or self.watching or not all(is_short(arguments) for arguments, _ in stack):
            return await super().execute(raise_on_error)
        line = await self._pipe.line()
        commands = self._commands(line)
        packed = _packed(commands, is_transaction=self.is_transaction)
        if len(packed) > LONGEST_BYTES:
            return await super().execute(raise_on_error)
        try:
            sent = line.send(packed, len(commands) + (2 if self.is_transaction else 0))  # MULTI and EXEC answer too
        except ConnectionFull:
            return await super().execute(raise_on_error)
        self.command_stack = []
        answers = await sent
        if self.is_transaction:
            answers = _of_transaction(answers)
        await self._send_unknown(answers, stack, commands)
        if raise_on_error:
            self.raise_first_error(stack, answers)
        return [
            read_answer(self.response_callbacks, arguments[0], answer, options)
            for answer, (arguments, options) in zip(answers, stack, strict=True)
        ]

    def _commands(self, line: PipelinedConnection) -> list[Sequence[Any]]:
        """Return what is to be sent: scripts by their names, but of a transaction with several all of them whole.

        Of those the server may have forgotten one alone, which would then run after those that stand behind it.
        """
        scripts = {arguments[1] for arguments, _ in self.command_stack if arguments[0] == "EVAL"}
        if self.is_transaction and len(scripts) > 1:
            return [arguments for arguments, _ in self.command_stack]
        return [_named(arguments, line) for arguments, _ in self.command_stack]

    async def _send_unknown(self, answers: list[Any], stack: Sequence[Any], commands: Sequence[Any]) -> None:
        """Send those scripts whole that the server has forgotten (SCRIPT FLUSH), and take note of the others."""
        line = await self._pipe.line()
        for at, answer in enumerate(answers):
            if isinstance(answer, RedisConnectionError):
                raise answer
            if isinstance(answer, NoScriptError):
                line.known_scripts.clear()
                try:
                    (answers[at],) = await line.send(hiredis.pack_command(stack[at][0]), 1)
                except ConnectionFull:
                    whole = Redis(connection_pool=self.connection_pool)
                    answers[at] = await whole.execute_command(*stack[at][0])  # type: ignore[no-untyped-call]  # redis-py has no types here
            elif commands[at][0] == "EVAL":
                line.known_scripts.add(digest_of(commands[at][1]))


def read_answer(callbacks: Mapping[Any, Any], name: Any, answer: Any, options: Mapping[str, Any]) -> Any:
    """Return an answer as redis-py gives it to its callers."""
    callback = callbacks.get(name)
    if callback is None or isinstance(answer, Exception):
        return answer
    return callback(answer, **{option: value for option, value in options.items() if option != "keys"})


def is_short(arguments: Sequence[Any]) -> bool:
    """Return whether a command neither blocks, nor is known to be long, nor answers at length."""
    name = arguments[0]
    return name in SHORT and not (name in {"EVAL", "EVALSHA"} and may_be_long(arguments[1]))


def _named(arguments: Sequence[Any], line: PipelinedConnection) -> Sequence[Any]:
    if arguments[0] == "EVAL" and (digest := digest_of(arguments[1])) in line.known_scripts:
        return ("EVALSHA", digest, *arguments[2:])
    return arguments


def _packed(commands: Sequence[Any], *, is_transaction: bool) -> bytes:
    parts = [hiredis.pack_command(tuple(command)) for command in commands]
    return b"".join([_MULTI, *parts, _EXEC] if is_transaction else parts)


def _of_transaction(answers: list[Any]) -> list[Any]:
    """Return what EXEC answered.

    Raises:
        RedisError: a command was refused, and so none was executed.
    """
    *queued, executed = answers
    if isinstance(executed, Exception):
        raise next((answer for answer in queued if isinstance(answer, Exception)), executed)
    return list(executed)
