"""Cursors of the list of sessions."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from api.endpoints.manage.sessions.arguments import cursor_from, to_cursor
from shared.errors import InvalidRequest
from shared.postgres.session_directory import Cursor
from shared.postgres.sessions import Session

times = st.datetimes(datetime(1970, 1, 1), datetime(9000, 1, 1)).map(lambda time: time.replace(tzinfo=UTC))  # noqa: DTZ001 -- made aware


@given(times, st.uuids())
def test_a_cursor_is_read_as_it_was_written(last: datetime, session_id: UUID) -> None:
    """To the microsecond."""
    session = Session(
        id=session_id, key_id=None, title=None, auto_title=None, is_admin_mode=False, parent_session_id=None,
        message_count=0, created_at=last, last_message_at=last, archived_at=None,
    )  # fmt: skip
    assert cursor_from(to_cursor(session)) == Cursor(last, session_id)


@given(st.text() | st.tuples(st.text(), st.uuids().map(str) | st.text()).map(",".join))
def test_any_other_text_is_refused(text: str) -> None:
    """As wrong, not as a fault."""
    with suppress(InvalidRequest):
        assert cursor_from(text).last_message_at.tzinfo is not None
