"""PostgreSQL: reachable, new enough, with pgvector, at this program's schema."""

from __future__ import annotations

from typing import Any, Final

import asyncpg

from shared.postgres import queries
from shared.postgres.migrations import SchemaError, load_schema
from shared.process.doctor.finding import Finding
from shared.settings import PROJECT_ROOT

TIMEOUT_S: Final = 5.0
OLDEST: Final = 14
FAILURES: Final = """
SELECT count(*) AS count, min(model) AS model, min(reason) AS reason FROM np_claw_knowledge_failures AS failures
JOIN np_claw_knowledge_chunks AS chunks ON id = chunk_id AND chunks.hash = failures.hash
"""
VECTOR: Final = "SELECT installed_version, default_version FROM pg_available_extensions WHERE name = 'vector'"


async def check_postgres(url: str) -> list[Finding]:
    """Return what was found; connects once, with a deadline."""
    try:
        connection = await asyncpg.connect(url, timeout=TIMEOUT_S, command_timeout=TIMEOUT_S)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        text = f"It does not answer: {error or type(error).__name__}"
        mend = "Is it running, and are address, user and password of DATABASE_URL right? (nself claw up has its own.)"
        return [Finding("postgres", "wrong", text, mend)]
    try:
        found = [_version(connection), await _vector(connection), await _schema(connection)]
        return [*found, *(await _knowledge(connection) if found[-1].state == "ok" else ())]
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return [Finding("postgres", "wrong", f"It refuses: {error}", "Give the user of DATABASE_URL what it needs.")]
    finally:
        # Not close(), which waits for the server.
        connection.terminate()


def _version(connection: Any) -> Finding:
    version = connection.get_server_version()
    if version.major < OLDEST:
        return Finding("postgres", "wrong", f"PostgreSQL {version.major} is too old", f"PostgreSQL {OLDEST} or newer.")
    return Finding("postgres", "ok", f"PostgreSQL {version.major}.{version.minor} answers")


async def _vector(connection: Any) -> Finding:
    found = await connection.fetchrow(VECTOR)
    if found is None:
        mend = "Install the package of pgvector for its version, as postgresql-16-pgvector."
        return Finding("postgres", "note", "pgvector is not installed on its machine: words alone find knowledge", mend)
    return Finding("postgres", "ok", f"pgvector {found['installed_version'] or found['default_version']} is there")


async def _knowledge(connection: Any) -> list[Finding]:
    row = await connection.fetchrow(FAILURES)
    if not row["count"]:
        return []
    text = f"{row['model']} makes no vectors of {row['count']} chunks ({row['reason']}): words alone find them"
    mend = "Its server's log says why, about the requests of purpose `knowledge`; they are tried again by themselves."
    return [Finding("knowledge", "note", text, mend)]


async def _schema(connection: Any) -> Finding:
    try:
        newest = load_schema(PROJECT_ROOT).version
    except (SchemaError, OSError) as error:
        return Finding("schema", "unchecked", f"This program's own schema cannot be read: {error}")
    tables = await connection.fetchrow(queries.FIND_TABLES)
    if not tables["stamps"]:
        mend = "Start an api or a recorder: it makes them."
        return Finding("schema", "note", "The database has no tables of the gateway yet", mend)
    version = await connection.fetchval(queries.SCHEMA_VERSION)
    if version < newest:
        mend = "Start an api or a recorder of this version: it brings them up to date."
        return Finding("schema", "wrong", f"The tables are at version {version}, this program's at {newest}", mend)
    if version > newest:
        mend = "Update this program, or ask the doctor of the newer one."
        return Finding(
            "schema", "note", f"The tables are at version {version}, newer than this program's {newest}", mend
        )
    return Finding("schema", "ok", f"The tables are at this program's version {version}")
