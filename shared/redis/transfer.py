"""Commands that bring or return bodies: they get the time that their bytes take, on a connection of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from redis.asyncio import Redis

TRANSFER_S: Final = 7.0
"""For bodies, beyond what any command may take: 20 MiB on a network of 100 Mbit/s take two seconds, when it is idle."""


async def transfer(redis: Redis, *command: str | bytes | float) -> Any:
    """Execute a command; return its answer.

    Raises:
        RedisError, OSError, TimeoutError: as redis-py does.
    """
    pool = redis.connection_pool
    connection = await pool.get_connection()
    bound_s = connection.socket_timeout
    connection.socket_timeout = None if bound_s is None else bound_s + TRANSFER_S
    try:
        await connection.send_command(*command)
        return await connection.read_response()
    finally:
        connection.socket_timeout = bound_s
        await pool.release(connection)
