"""Bringing a database to the newest schema: `schema.sql` for an empty one, `migrations/NNNN_*.sql` for the others.

Each step is one transaction under an advisory lock, together with its stamp in `np_claw_schema_version`: any number of
processes may start at once, and one that dies in a step leaves the schema as it was before.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from shared.postgres import queries

if TYPE_CHECKING:
    from pathlib import Path

    from asyncpg.pool import PoolConnectionProxy

log: Final = logging.getLogger(__name__)

STEP_TIMEOUT_S: Final = 600.0
_STAMP_IN_SCHEMA: Final = re.compile(r"INTO np_claw_schema_version \(version\) VALUES \((\d+)\)")
_MIGRATION_NAME: Final = re.compile(r"(\d{4})_\w+\.sql")


class SchemaError(Exception):
    """The database cannot be brought to the newest schema; the text says why. Trying again does not help."""


class Schema(msgspec.Struct, frozen=True):
    """The contents of the files: the newest version, all of it as SQL, and the steps that lead there."""

    version: int
    sql: str
    migrations: dict[int, str]


def load_schema(root: Path) -> Schema:
    """Read `schema.sql` and `migrations/` in `root`.

    Raises:
        SchemaError: the files do not fit together.
    """
    sql = (root / "schema.sql").read_text()
    stamp = _STAMP_IN_SCHEMA.search(sql)
    if stamp is None:
        raise SchemaError("schema.sql does not stamp np_claw_schema_version")
    migrations: dict[int, str] = {}
    for path in sorted((root / "migrations").glob("*.sql")):
        name = _MIGRATION_NAME.fullmatch(path.name)
        if name is None or int(name[1]) in migrations:
            raise SchemaError(
                f"migrations/{path.name}: the name must be NNNN_what_changes.sql, with a number of its own"
            )
        migrations[int(name[1])] = path.read_text()
    version = int(stamp[1])
    if sorted(migrations) != list(range(2, version + 1)):
        raise SchemaError(f"schema.sql is version {version}, the migrations are {sorted(migrations)}")
    return Schema(version, sql, migrations)


async def apply_schema(connection: PoolConnectionProxy[Any], schema: Schema) -> int:
    """Apply every step that is missing; return the version the database then has.

    Raises:
        SchemaError: the tables are another program's.
    """
    while True:
        async with connection.transaction():
            # As long as a step: another process may be in the middle of one.
            await connection.execute(queries.LOCK_SCHEMA, timeout=STEP_TIMEOUT_S)
            # Read under the lock: another process may just have done this step.
            version = await _version(connection)
            if version is None:
                log.info("creating the schema, version %d", schema.version)
                await connection.execute(schema.sql, timeout=STEP_TIMEOUT_S)
                return schema.version
            if version >= schema.version:
                # During an update: old processes go on beside the first new one.
                if version > schema.version:
                    log.warning(
                        "the database's schema is version %d, newer than this program's %d", version, schema.version
                    )
                return version
            log.info("migrating the schema to version %d", version + 1)
            await connection.execute(schema.migrations[version + 1], timeout=STEP_TIMEOUT_S)
            await connection.execute(queries.STAMP_SCHEMA, version + 1)


async def _version(connection: PoolConnectionProxy[Any]) -> int | None:
    """Return the version stamped last; None when there is nothing of ours yet."""
    found = await connection.fetchrow(queries.FIND_TABLES)
    if found is not None and found["stamps"]:
        stamped: int | None = await connection.fetchval(queries.SCHEMA_VERSION)
        return stamped
    if found is not None and found["keys"]:
        raise SchemaError(
            "The database has a table np_claw_api_keys that this program did not make. Give it a database of its own."
        )
    return None
