"""What no waiting mends at a start: a database that refuses us, a disk that is full."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

import asyncpg

if TYPE_CHECKING:
    from pathlib import Path

LEAST_FREE_MIB: Final = 64
"""Below that PostgreSQL and Valkey soon fail in ways of their own: a segment of PostgreSQL's log alone takes 16 MiB."""
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
    free_mib = shutil.disk_usage(data_dir).free // (1024 * 1024)
    if free_mib < LEAST_FREE_MIB:
        raise StartFailed(
            f"The disk of {data_dir} is full: {free_mib} MiB are free, {LEAST_FREE_MIB} are needed. "
            "Free some space, or put the data elsewhere: CLAW_DATA_DIR."
        )


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
