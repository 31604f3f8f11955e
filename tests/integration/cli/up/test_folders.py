"""`nself claw up` on data folders that it cannot use, or had better not."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from cli.up.preconditions import StartFailed, check_owner
from tests.integration.cli.up.up_stack import Up, up_in
from tests.small_disks import small_disk_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

AS_ROOT = os.geteuid() == 0
SOMEBODY = 54_321


@pytest.fixture
async def up(tmp_path: Path) -> AsyncIterator[Up]:
    """A folder with a Procfile of small scripts; nothing runs yet."""
    async with up_in(tmp_path) as stack:
        yield stack


@pytest.mark.parametrize("exists", [True, False] if AS_ROOT else [])
async def test_a_folder_that_cannot_be_written_to_is_named(up: Up, exists: bool) -> None:  # noqa: FBT001 -- a case
    """With its file system's reason, and the variable that names another one."""
    with small_disk_of(128) as disk:
        folder = disk.path / "data"
        if exists:
            folder.mkdir(mode=0o700)
        disk.close_to_writers()
        await up.run(CLAW_DATA_DIR=str(folder))
        assert await up.exit_code() == 1
    assert f"{folder}" in up.shown
    assert "Read-only file system. CLAW_DATA_DIR names another data folder." in up.shown
    assert "Traceback" not in up.shown


@pytest.mark.parametrize("mib", [20] if AS_ROOT else [])
async def test_a_disk_that_is_too_small_is_named(up: Up, mib: int) -> None:
    """Before anything is started on it."""
    with small_disk_of(mib) as disk:
        await up.run(CLAW_DATA_DIR=str(disk.path / "data"))
        assert await up.exit_code() == 1
    assert f"The disk of {disk.path / 'data'} is full" in up.shown
    assert "Traceback" not in up.shown


def test_a_folder_of_another_user_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner is named; root, who may do everything, is told what follows."""
    owner = os.geteuid()
    assert check_owner(tmp_path) is None
    monkeypatch.setattr(os, "geteuid", lambda: SOMEBODY)
    with pytest.raises(StartFailed, match=r"belongs to the user .*Run this as that user.*CLAW_DATA_DIR"):
        check_owner(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert (check_owner(tmp_path) is None) == (owner == 0)


@pytest.mark.parametrize("owner", [SOMEBODY] if AS_ROOT else [])
async def test_root_is_told_that_a_folder_is_another_users(up: Up, owner: int) -> None:
    """It starts: a container may be run as root on a folder of its host's user."""
    folder = up.folder / "data"
    folder.mkdir(mode=0o700)
    os.chown(folder, owner, owner)
    await up.started()
    assert f"belongs to the user number {owner}" in up.shown
