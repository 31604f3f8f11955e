"""An api process whose port is taken ends at once, with one line and the exit code of a wrong configuration."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_TAKEN_MEANWHILE = """
import socket
import sys
from api import __main__
from api.server import config

class Config(config.ServerConfig):
    rival = None

    def bind_sockets(self):
        bound = super().bind_sockets()
        if self.rival is None:
            self.rival = socket.socket()
            self.rival.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.rival.bind(bound.insecure_sockets[0].getsockname())
            self.rival.listen()
        return bound

__main__.ServerConfig = Config
sys.exit(__main__.main())
"""


async def _ended(*command: str, port: int, folder: Path, redis_url: str, database_url: str) -> tuple[int | None, str]:
    """Return the exit code of an api process, and what it said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *command),
        env={
            "PATH": os.environ["PATH"],
            "CLAW_DATA_DIR": str(folder),
            "CLAW_PORT": str(port),
            "REDIS_URL": redis_url,
            "DATABASE_URL": database_url,
            "PLUGIN_INTERNAL_SECRET": "secret",
        },
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    return process.returncode, said.decode()


async def test_a_taken_port_is_said_before_anything_else_is_tried(tmp_path: Path) -> None:
    """Neither Redis nor PostgreSQL is there: nothing was asked of them."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = await _ended(
            *("-m", "api"),
            port=port,
            folder=tmp_path,
            redis_url="redis://127.0.0.1:1/0",
            database_url="postgresql://claw@127.0.0.1:1/claw",
        )
    assert ended == (78, f"python -m api: cannot listen on 127.0.0.1:{port}: Address already in use\n")


async def test_a_port_that_is_taken_during_the_start_ends_it_too(
    tmp_path: Path, valkey_url: str, database_url: str
) -> None:
    """Two starts at once: both may bind, one may listen. No task of the other one holds its end up."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    code, said = await _ended(
        *("-c", _TAKEN_MEANWHILE), port=port, folder=tmp_path, redis_url=valkey_url, database_url=database_url
    )
    assert (code, said) == (78, f"python -m api: cannot listen on 127.0.0.1:{port}: Address already in use\n")
