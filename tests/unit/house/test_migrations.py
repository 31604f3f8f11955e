"""The schema and its migrations belong together: what two people add at once meets here, not at a start."""

from __future__ import annotations

from shared.postgres.migrations import load_schema
from tests.unit.house.tree import ROOT


def test_each_migration_has_a_number_of_its_own() -> None:
    """In order, without a gap, up to the version that `schema.sql` stamps; else this raises."""
    load_schema(ROOT)
