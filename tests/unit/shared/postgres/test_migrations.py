"""The files of the schema, as they are."""

from __future__ import annotations

from shared.postgres.migrations import load_schema
from shared.settings import PROJECT_ROOT


def test_each_migration_has_a_number_of_its_own_and_the_schema_names_the_newest() -> None:
    """Two changes made at once would take the same number, and no process could start."""
    schema = load_schema(PROJECT_ROOT)
    assert sorted(schema.migrations) == list(range(2, schema.version + 1))
