"""Stored messages as the chat shows them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from api.ui.pages.chat.conversation import Call, to_shown
from api.ui.pages.chat.show import by_age, title_of
from shared.postgres.session_directory import Message
from shared.postgres.sessions import Session

NOW = datetime(2026, 11, 27, tzinfo=UTC)


def message(role: str = "assistant", stored: Any = None, **fields: Any) -> Message:
    """Return a stored message."""
    given: dict[str, Any] = {
        "id": UUID(int=1), "position": 0, "request_id": UUID(int=2), "role": role, "content": "text",
        "message": json.dumps(stored or {"role": role, "content": "text"}), "state": "complete", "superseded_by": None,
        "tier_source": None, "model_used": None, "latency_ms": None, "input_tokens": None, "output_tokens": None,
        "created_at": NOW,
    }  # fmt: skip
    return Message(**given | fields)


def session(**fields: Any) -> Session:
    """Return a stored session."""
    given: dict[str, Any] = {
        "id": UUID(int=1), "key_id": None, "title": None, "auto_title": None, "is_admin_mode": False,
        "parent_session_id": None, "message_count": 2, "created_at": NOW, "last_message_at": NOW, "archived_at": None,
    }  # fmt: skip
    return Session(**given | fields)


def test_only_images_that_a_message_brings_are_shown() -> None:
    """One that stands elsewhere would tell its server who reads this."""
    urls = ["data:image/png;base64,AAAA", "https://example.com/x.png", "data:text/html;base64,AAAA", 7]
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    shown = to_shown(
        message("user", {"role": "user", "content": [*parts, {"type": "image_url", "image_url": 1}, "x"]}), None, None
    )
    assert shown.images == ("data:image/png;base64,AAAA",)


@pytest.mark.parametrize(
    ("source", "tier"), [("local", "local"), ("free_gemini", "gemini"), ("api_key", "paid"), (None, None)]
)
def test_an_answer_names_its_tier(source: str | None, tier: str | None) -> None:
    """By the word that the pages use."""
    assert to_shown(message(tier_source=source), None, 0.5).tier == tier


def test_calls_are_shown_and_a_message_that_cannot_be_read_is_its_text() -> None:
    """Nothing that is stored keeps a page from being shown."""
    calls = [{"id": "1", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}}]
    assert to_shown(message(stored={"tool_calls": calls}), None, None).calls == (Call("look", '{"a": 1}'),)
    odd = message(stored={"tool_calls": "none", "content": {"deep": [1]}})
    assert (to_shown(odd, None, None).calls, to_shown(odd, None, None).text) == ((), "text")


def test_how_an_answer_ended_is_said_where_it_is_not_whole() -> None:
    """A question has no such note, and no price."""
    assert "Stopped" in to_shown(message(state="cancelled"), None, None).note
    asked = to_shown(message("user", state="cancelled"), None, 0.5)
    assert (asked.note, asked.cost_usd) == ("", None)


def test_sessions_stand_by_their_age() -> None:
    """The newest first, and no group is empty."""
    ages = [0.1, 0.9, 3, 20, 400]
    groups = by_age([session(last_message_at=NOW - timedelta(days=age)) for age in ages], NOW)
    assert [(name, len(found)) for name, found in groups] == [
        ("Last 24 hours", 2), ("Last 7 days", 1), ("Last 30 days", 1), ("Earlier", 1),
    ]  # fmt: skip


def test_a_title_of_ones_own_stands_before_the_automatic_one() -> None:
    """And there always is one."""
    assert title_of(session(title="Mine", auto_title="Automatic")) == "Mine"
    assert title_of(session(auto_title="Automatic")) == "Automatic"
    assert title_of(session()) == "Chat"
