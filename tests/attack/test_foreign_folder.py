"""A data folder that somebody else left where we work: it does not learn our secret."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cli.up.running import RunNote, exclusive, write_note

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECRET = "the-secret-of-this-shell"
SOMEBODY = 12345


class Thief:
    """A server that keeps what it is told.

    Attributes:
        heard: all of it.
    """

    def __init__(self) -> None:
        self.heard = b""
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hear one client out."""
        self.heard += await reader.read(65_536)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        writer.close()


@pytest.fixture
async def thief() -> AsyncIterator[Thief]:
    """Yield a thief that listens."""
    found = Thief()
    async with await asyncio.start_server(found.serve, "127.0.0.1", 0) as server:
        found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield found


async def run(folder: Path, *arguments: str) -> tuple[int | None, str]:
    """Return how a command that is typed in a folder ends, and what it says."""
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("nself"),
        *arguments,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PLUGIN_INTERNAL_SECRET": SECRET, "HOME": str(folder)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode, said.decode()


SPOILT = ("writable", "another user's") if os.geteuid() == 0 else ("writable",)


@pytest.mark.parametrize("how", SPOILT)
async def test_a_folder_that_is_not_ours_learns_no_secret(tmp_path: Path, thief: Thief, how: str) -> None:
    """Neither by a command that reads nor by one that changes; it is named, and what to do."""
    folder = tmp_path / ".claw"
    folder.mkdir(mode=0o700)
    with exclusive(folder):
        write_note(folder, RunNote(1, thief.url, "redis://", "postgresql://"))
        await run(tmp_path, "claw", "api", "keys", "list")
        assert SECRET.encode() in thief.heard, "else the rest would show nothing"
        thief.heard = b""
        if how == "writable":
            folder.chmod(0o777)
        else:
            os.chown(folder, SOMEBODY, SOMEBODY)
        for command in (("api", "keys", "list"), ("api", "budget"), ("status",), ("env",)):
            status, said = await run(tmp_path, "claw", *command)
            assert status, said
            assert "not trusted" in said
            assert "CLAW_DATA_DIR" in said
    assert not thief.heard
