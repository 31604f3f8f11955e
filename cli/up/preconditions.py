"""Preconditions that no waiting mends: a database that refuses us, a full disk, a data folder of another user."""

from __future__ import annotations

import os
import pwd
import shutil
from typing import TYPE_CHECKING, Final

import asyncpg

from shared.process.doctor.of_machine import LEAST_FREE_MIB
from shared.redis.probe import RedisUnusable, check_at_start

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_MIB: Final = 1024 * 1024
_TIMEOUT_S: Final = 5.0
_REFUSED: Final = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
)


class StartFailed(Exception):
    """The stack cannot run; the text says why."""


def check_space(data_dir: Path) -> None:
    """Check that there is room for data and logs.

    Raises:
        StartFailed: the disk is full, or nearly.
    """
    free_mib = shutil.disk_usage(data_dir).free // _MIB
    if free_mib < LEAST_FREE_MIB:
        raise StartFailed(
            f"The disk of {data_dir} is full: {free_mib} MiB are free, {LEAST_FREE_MIB} are needed. "
            "Free some space, or put the data elsewhere: CLAW_DATA_DIR."
        )


class DiskWatch:
    """Says once when the disk of the data becomes full, and when there is room again.

    Args:
        data_dir: whose disk.
        warn: shows a line.
    """

    def __init__(self, data_dir: Path, warn: Callable[[str], None]) -> None:
        self._data_dir = data_dir
        self._warn = warn
        self._is_full = False

    def look(self) -> None:
        """Look now."""
        free_mib = shutil.disk_usage(self._data_dir).free // _MIB
        was_full, self._is_full = self._is_full, free_mib < LEAST_FREE_MIB
        if self._is_full and not was_full:
            self._warn(
                f"The disk of {self._data_dir} is almost full: {free_mib} MiB are free. Free some space: without any, "
                "requests are refused, until there is room again."
            )
        elif was_full and not self._is_full:
            self._warn(f"There is room again on the disk of {self._data_dir}: {free_mib} MiB.")


def foreign_owner(data_dir: Path) -> str | None:
    """Return the user whose the data folder is, where it is not ours."""
    owner = data_dir.stat().st_uid
    if owner == os.geteuid():
        return None
    try:
        return pwd.getpwuid(owner).pw_name
    except KeyError:
        return f"number {owner}"


def check_owner(data_dir: Path) -> str | None:
    """Check that the data folder is ours; return what to warn root of, who may write to it all the same.

    Raises:
        StartFailed: it is another user's.
    """
    owner = foreign_owner(data_dir)
    if owner is None:
        return None
    warnings = f"{data_dir} belongs to the user {owner}"
    if os.geteuid() == 0:
        return f"{warnings}, who cannot run this there once it has been run as root: what is made now is root's."
    raise StartFailed(f"{warnings}. Run this as that user, or name another data folder: CLAW_DATA_DIR.")


def make_private(data_dir: Path) -> list[str]:
    """Close the data folder, its secrets and its notes to other users; return a sentence for each that was open.

    Raises:
        OSError: one is open, and is another user's.
    """
    warnings = []
    secrets = data_dir / "secrets"
    for path in (data_dir, secrets, *secrets.glob("[!.]*"), data_dir / "run.json"):
        mode = path.stat().st_mode & 0o777 if path.exists() else 0
        if mode & 0o077:
            path.chmod(mode & 0o700)
            warnings.append(
                f"{path} was open to other users (mode {mode:o}) and is closed now: what it holds may be known."
            )
    return warnings


async def check_database(url: str) -> str:
    """Connect once to a PostgreSQL that is configured; return what to warn of where it does not answer yet, else "".

    Raises:
        StartFailed: it answers and refuses the user, the password or the database: DATABASE_URL is wrong.
    """
    try:
        connection = await asyncpg.connect(url, timeout=_TIMEOUT_S)
    # It answers: waiting would not help.
    except _REFUSED as error:
        raise StartFailed(f"DATABASE_URL cannot be used: {error}.") from None
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        return f"The PostgreSQL of DATABASE_URL does not answer yet ({error or type(error).__name__}); waiting for it."
    await connection.close(timeout=_TIMEOUT_S)
    return ""


async def check_redis(url: str) -> None:
    """Connect once to a Redis that is configured. One that does not answer may come yet, which is logged.

    Raises:
        StartFailed: it answers, and cannot serve us; the text says what to mend.
    """
    try:
        await check_at_start(url)
    except RedisUnusable as error:
        raise StartFailed(f"REDIS_URL cannot be used: {error}") from None
