"""A first start that cannot be: it ends within seconds, with what is wrong and which variable to mend."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import pytest

from cli.up.preconditions import DiskWatch, StartFailed, check_space
from shared.process.doctor.of_machine import LEAST_FREE_MIB
from tests.integration.cli.up.up_stack import Up, up_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def up(tmp_path: Path) -> AsyncIterator[Up]:
    """Yield a folder with a Procfile of small scripts; nothing runs yet."""
    async with up_in(tmp_path) as stack:
        yield stack


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [("password", "password authentication failed"), ("database", 'database "nowhere" does not exist')],
)
async def test_a_database_that_refuses_us_ends_the_start_with_its_variable(
    up: Up, postgres_url: str, wrong: str, reason: str
) -> None:
    """Before any process of the gateway is started."""
    parts = urlsplit(postgres_url)
    change = {"path": "/nowhere"}
    if wrong == "password":
        change = {"netloc": f"{parts.username}:wrong@{parts.netloc.rpartition('@')[2]}"}
    await up.run(DATABASE_URL=urlunsplit(parts._replace(**change)))
    assert await up.exit_code() == 1
    assert f"DATABASE_URL cannot be used: {reason}" in up.shown
    assert not (up.folder / "data" / "log" / "web.log").exists()


async def test_a_redis_that_refuses_us_ends_the_start_with_its_variable(up: Up, valkey_url: str) -> None:
    """At once, and not after two minutes of tries."""
    parts = urlsplit(valkey_url)
    await up.run(REDIS_URL=urlunsplit(parts._replace(netloc=f":wrong@{parts.netloc.rpartition('@')[2]}")))
    assert await up.exit_code() != 0
    assert "the user or the password in REDIS_URL is wrong" in up.shown
    assert "REDIS_URL cannot be used" in up.shown
    assert not (up.folder / "data" / "log" / "web.log").exists()


def test_a_full_disk_is_named_before_anything_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what is free, and the variable that puts the data elsewhere."""
    check_space(tmp_path)
    usage = shutil.disk_usage(tmp_path)._replace(free=(LEAST_FREE_MIB - 1) * 1024 * 1024)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(StartFailed, match=f"{LEAST_FREE_MIB - 1} MiB are free.*CLAW_DATA_DIR"):
        check_space(tmp_path)


def test_a_disk_that_fills_is_said_once_and_so_is_its_recovery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the gateway runs."""
    said: list[str] = []
    watch = DiskWatch(tmp_path, said.append)
    usage = shutil.disk_usage(tmp_path)
    for free_mib in (LEAST_FREE_MIB, LEAST_FREE_MIB - 1, 0, LEAST_FREE_MIB, 1000):
        found = usage._replace(free=free_mib * 1024 * 1024)
        monkeypatch.setattr("shutil.disk_usage", lambda _, found=found: found)
        watch.look()
    assert [f"{LEAST_FREE_MIB - 1} MiB are free" in said[0], "There is room again" in said[1]] == [True, True]
    assert len(said) == 2
