"""What docs/scaling.md tells an operator is so."""

from __future__ import annotations

import inspect
import re

from shared.postgres.database import Database
from shared.redis.client import POOL_SIZE
from tests.unit.house.tree import ROOT

TEXT = (ROOT / "docs" / "scaling.md").read_text()


def test_the_scripts_that_are_named_are_there() -> None:
    """One was gone: what each script touches is read before Redis is divided."""
    named = set(re.findall(r"`(\w+\.lua)`", TEXT))
    there = {path.name for path in (ROOT / "shared" / "redis" / "lua").glob("*.lua")}
    assert {"admit.lua", "claim.lua", "finish.lua"} <= named <= there


def test_connections_are_counted() -> None:
    """As many as a process opens, and what a pooler in front of PostgreSQL must know."""
    to_postgres = inspect.signature(Database).parameters["max_connections"].default
    assert f"at most {POOL_SIZE} to Redis for each process" in TEXT
    assert f"at most {to_postgres} for each api process" in TEXT
    assert "PgBouncer" in TEXT
    assert "max_prepared_statements" in TEXT
