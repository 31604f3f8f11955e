"""Making and migrating the schema on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg
import pytest

from shared.postgres.database import Database, SchemaError
from shared.postgres.migrations import load_schema
from shared.settings import PROJECT_ROOT

if TYPE_CHECKING:
    from pathlib import Path

COUNT = "SELECT version FROM np_claw_schema_version ORDER BY version"
STAMP = "CREATE TABLE IF NOT EXISTS np_claw_schema_version (version integer PRIMARY KEY, applied_at timestamptz);"


def write_schema(root: Path, version: int, migrations: dict[int, str]) -> Path:
    """Return a small schema in `root`, of the given version."""
    stamp = f"{STAMP}\nINSERT INTO np_claw_schema_version (version) VALUES ({version}) ON CONFLICT DO NOTHING;"
    (root / "schema.sql").write_text(stamp)
    (root / "migrations").mkdir(exist_ok=True)
    for number, sql in migrations.items():
        (root / "migrations" / f"{number:04}_change.sql").write_text(sql)
    return root


async def test_an_empty_database_gets_the_whole_schema_stamped(empty_database_url: str) -> None:
    """The newest version is there at once, and starting again changes nothing."""
    newest = load_schema(PROJECT_ROOT).version
    async with Database(empty_database_url) as database:
        assert await database.migrate() == newest
        await database.execute(
            "INSERT INTO np_claw_api_keys (name, key_hash, key_prefix) VALUES ('a', sha256(''), 'p')"
        )
        assert await database.migrate() == newest
        assert len(await database.fetch("SELECT FROM np_claw_api_keys")) == 1


async def test_the_schema_may_be_applied_by_hand_and_twice(empty_database_url: str) -> None:
    """`psql -f schema.sql` is a way to set up too."""
    schema = load_schema(PROJECT_ROOT)
    async with Database(empty_database_url) as database:
        await database.execute(schema.sql)
        await database.execute(schema.sql)
        assert await database.migrate() == schema.version


async def test_many_processes_may_start_at_once(empty_database_url: str, tmp_path: Path) -> None:
    """Each statement of the schema and of the migrations runs once."""
    databases = [Database(empty_database_url, max_connections=1) for _ in range(8)]
    async with asyncio.TaskGroup() as group:
        for database in databases:
            group.create_task(migrated(database, PROJECT_ROOT))
    newest = load_schema(PROJECT_ROOT).version
    steps = dict.fromkeys(range(2, newest + 1), "SELECT 1")
    steps |= {newest + 1: "CREATE TABLE second (n int)", newest + 2: "INSERT INTO second VALUES (3)"}
    root = write_schema(tmp_path, newest + 2, steps)
    async with asyncio.TaskGroup() as group:
        for database in databases:
            group.create_task(migrated(database, root))
    async with databases[0] as database:
        assert [row["n"] for row in await database.fetch("SELECT n FROM second")] == [3]
        assert [row["version"] for row in await database.fetch(COUNT)] == [newest, newest + 1, newest + 2]


async def test_the_migrations_lead_an_old_database_to_the_schema(empty_database_url: str) -> None:
    """A database of version 1 ends with the columns that a new one has."""
    columns = """
        SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns
        WHERE table_schema = 'public' ORDER BY table_name, column_name
    """
    async with Database(empty_database_url) as database:
        await database.migrate()
        fresh = await database.fetch(columns)
        await database.execute("""
            DROP TABLE np_claw_gemini_accounts, np_claw_routing, np_claw_messages, np_claw_sessions;
            DROP TABLE np_claw_responses, np_claw_conversation_items, np_claw_conversations;
            DROP TABLE np_claw_retired_secrets, np_claw_web_ui;
            ALTER TABLE np_claw_api_keys
                DROP COLUMN monthly_budget_usd, DROP COLUMN system_prompt_id, DROP COLUMN allowed_models,
                DROP COLUMN allowed_tiers, DROP COLUMN expires_at, DROP COLUMN tokens_per_minute, DROP COLUMN erased_at,
                DROP COLUMN stream_comments, DROP COLUMN revision;
            DROP TABLE np_claw_system_prompts, np_claw_audit_log, np_claw_knowledge_failures, np_claw_knowledge_chunks,
                np_claw_knowledge_documents, np_claw_knowledge_notes, np_claw_knowledge_state;
            ALTER TABLE np_claw_api_usage
                DROP COLUMN count, DROP COLUMN added_tokens, DROP COLUMN error_reason, DROP COLUMN purpose,
                DROP COLUMN story;
            UPDATE np_claw_schema_version SET version = 1;
        """)
        assert await database.fetch(columns) != fresh
        await database.migrate()
        assert await database.fetch(columns) == fresh


async def migrated(database: Database, root: Path) -> None:
    """Do what one process's start does."""
    async with database:
        await database.migrate(root)


async def test_a_failing_migration_leaves_nothing_behind(empty_database_url: str, tmp_path: Path) -> None:
    """The step is one transaction; the steps before it stay, and the next start takes it up again."""
    async with Database(empty_database_url) as database:
        await database.migrate(write_schema(tmp_path, 1, {}))
        steps = {2: "CREATE TABLE good (n int)", 3: "CREATE TABLE half (n int); SELECT 1 / 0"}
        with pytest.raises(asyncpg.DivisionByZeroError):
            await database.migrate(write_schema(tmp_path, 3, steps))
        assert [row["version"] for row in await database.fetch(COUNT)] == [1, 2]
        assert await database.migrate(write_schema(tmp_path, 3, {3: "CREATE TABLE half (n int)"})) == 3


async def test_a_newer_database_is_left_alone(empty_database_url: str, tmp_path: Path) -> None:
    """While a new version rolls out, processes of the old one start too."""
    async with Database(empty_database_url) as database:
        newer = load_schema(PROJECT_ROOT).version + 1
        steps = dict.fromkeys(range(2, newer + 1), "SELECT 1")
        await database.migrate(write_schema(tmp_path, newer, steps))
        assert await database.migrate(PROJECT_ROOT) == newer


async def test_another_programs_tables_are_not_touched(empty_database_url: str) -> None:
    """A real nSelf database has a table of the same name."""
    async with Database(empty_database_url) as database:
        await database.execute("CREATE TABLE np_claw_api_keys (id int)")
        with pytest.raises(SchemaError, match="database of its own"):
            await database.migrate()


@pytest.mark.parametrize(
    "names", [["0003_a.sql"], ["0002_a.sql", "0002_b.sql"], ["2_a.sql"], ["0002_a.sql", "0003_b.sql"]]
)
def test_migrations_that_do_not_fit_the_schema_are_refused(tmp_path: Path, names: list[str]) -> None:
    """Gaps, doubles, odd names and a schema.sql that was not raised along."""
    write_schema(tmp_path, 2, {})
    for name in names:
        (tmp_path / "migrations" / name).touch()
    with pytest.raises(SchemaError):
        load_schema(tmp_path)
