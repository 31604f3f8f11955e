"""Entries of the audit log as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

from api.ui.pages.admin.handlers import actor_name, details_text
from shared.postgres.audit import AuditEntry


def test_an_entry_says_what_was_asked_and_what_came_of_it() -> None:
    """The URL's fields, the body's, and the id of what was made."""
    details = {"request_id": "r", "status": 200, "key_id": "k1", "asked": {"name": "a", "rpm_limit": 5}, "made": "m1"}
    entry = AuditEntry("1", "create_key", "ui", datetime.now(UTC), details)
    assert details_text(entry) == "key_id: k1, name: a, rpm_limit: 5, id: m1"


def test_actors_have_names() -> None:
    """Of a key that is gone, the id."""
    assert actor_name("k1", {"k1": "Ada"}) == "Ada"
    assert actor_name("internal", {}) == "the internal token"
    assert actor_name("gone", {}) == "gone"
