"""`nself claw admin` against a running management API."""

from __future__ import annotations

import json

import pytest

from tests.integration.cli.managed import claw, url

__all__ = ["url"]

pytestmark = pytest.mark.usefixtures("url")


async def test_the_audit_log_is_shown() -> None:
    """Newest first, a line each; JSON is what the API said."""
    assert "Nothing was changed yet." in (await claw("admin", "audit")).output
    for name in ("a", "b"):
        assert (await claw("api", "keys", "create", "--name", name)).exit_code == 0
    head, newest, _ = (await claw("admin", "audit")).output.splitlines()
    assert head.split() == ["ID", "Time", "Operation", "Actor", "Details"]
    assert newest.split()[2:4] == ["create_key", "internal"]
    assert '"name": "b"' in newest
    (entry,) = json.loads((await claw("admin", "audit", "--limit", "1", "--json")).stdout)["entries"]
    assert entry["details"]["asked"]["name"] == "b"


async def test_the_state_of_the_installation_is_shown() -> None:
    """Whatever of it does not run."""
    shown = await claw("admin", "status")
    assert shown.exit_code == 0, shown.output
    rows = [line.split() for line in shown.output.splitlines()]
    assert ["postgres", "yes"] in rows
    assert ["worker", "paid", "no"] in rows
    status = json.loads((await claw("admin", "status", "--json")).stdout)
    again = json.loads((await claw("admin", "status", "--json")).stdout)
    assert status["captured_at"] == again["captured_at"]
    assert (await claw("admin", "refresh")).output.startswith("Taken at 20")
    anew = json.loads((await claw("admin", "refresh", "--json")).stdout)
    assert anew["captured_at"] > status["captured_at"]
    context = json.loads((await claw("admin", "context", "--json")).stdout)
    assert context["captured_at"] == anew["captured_at"]
    assert context["context"].splitlines() == (await claw("admin", "context")).output.splitlines()
