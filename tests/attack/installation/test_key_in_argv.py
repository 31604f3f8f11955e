"""A key that a command is to use: every user of the machine may read its arguments, so it need not stand there."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.fleet import Fleet, Process


async def output_of_test(api: Process, *arguments: str, typed: str = "", **environment: str) -> tuple[int | None, str]:
    """Run `nself claw api test`; return how it ended and what it said."""
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("nself"),
        "claw",
        "api",
        "test",
        *arguments,
        env={"PATH": os.environ["PATH"], "NSELF_CLAW_URL": api.url, "HOME": "/nowhere", **environment},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate(typed.encode())
    return process.returncode, said.decode()


@pytest.mark.parametrize("way", ["standard input", "the environment"])
async def test_a_key_comes_by_another_way_than_the_arguments(fleet: Fleet, api: Process, way: str) -> None:
    """The right one serves; a wrong one is refused, so it is what was used. Neither is shown."""
    for key, code in ((await fleet.key(), 0), ("sk-nself-" + "x" * 40, 1)):
        if way == "standard input":
            status, said = await output_of_test(api, "--key", "-", typed=f"{key}\n")
        else:
            status, said = await output_of_test(api, NSELF_CLAW_KEY=key)
        assert status == code, said
        assert key not in said
