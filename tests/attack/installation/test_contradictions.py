"""Settings of which one makes the other senseless: no process starts with them, and each says which two they are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.fleet import PATIENCE_S

if TYPE_CHECKING:
    from tests.fleet import Fleet

PROCESSES = (["api"], ["workers", "local"], ["workers", "recorder"])
PAIRS = [
    ("CLAW_HEARTBEAT_S=10", "CLAW_HEARTBEAT_BOUND_S=0.5"),
    ("CLAW_FIRST_TOKEN_TIMEOUT_S=100", "CLAW_TOTAL_TIMEOUT_S=60"),
    ("CLAW_BETWEEN_TOKENS_TIMEOUT_S=5000", "CLAW_TOTAL_TIMEOUT_S=3600"),
    ("CLAW_OLLAMA_NUM_CTX=9000", "CLAW_OLLAMA_MAX_NUM_CTX=8192"),
    ("CLAW_MAX_BODY_MIB=600", "CLAW_MAX_BODIES_MIB=512"),
]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[0].partition("=")[0])
async def test_no_process_starts_with_settings_that_contradict_each_other(fleet: Fleet, pair: tuple[str, str]) -> None:
    """It ends with the exit code for configuration, and both are named with their values."""
    environment = dict(setting.split("=") for setting in pair)
    for command in PROCESSES:
        process = fleet.start(command[-1], command, 0, environment)
        async with asyncio.timeout(PATIENCE_S):
            assert await process.process.wait() == 78
        said = process.log.read_text()
        for name, value in environment.items():
            assert f"{name} ({value})" in said
        assert "Traceback" not in said
