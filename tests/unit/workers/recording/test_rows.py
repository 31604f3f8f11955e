"""Usage records as rows."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest

from shared.usage import UsageRecord
from workers.recording.rows import MalformedRecord, UsageRow, from_json, from_record, last_uses, unique


def a_record(**changes: Any) -> UsageRecord:
    """Return a request admitted at the first millisecond of 2026."""
    fields: dict[str, Any] = {
        "request_id": "0" * 31 + "1", "key_id": None, "endpoint": "chat", "requested_model": "auto",
        "admitted_ms": 1767225600001,
    }  # fmt: skip
    return UsageRecord(**(fields | changes))


def a_row(number: int = 1, **changes: Any) -> UsageRow:
    """Return its row, with the request id `number`."""
    return from_record(a_record(request_id=UUID(int=number).hex, **changes))


def test_the_day_is_utcs() -> None:
    """A millisecond decides."""
    assert from_record(a_record()).day == date(2026, 1, 1)
    assert from_record(a_record(admitted_ms=1767225599999)).day == date(2025, 12, 31)
    assert from_record(a_record()).admitted_at == datetime(2026, 1, 1, 0, 0, 0, 1000, UTC)


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"[]", b"{}", b"\xff",
        msgspec.json.encode(a_record(request_id="1")),
        msgspec.json.encode(a_record(key_id="me")),
        msgspec.json.encode(a_record(admitted_ms=-(10**17))),
        msgspec.json.encode(a_record()).replace(b'"chat"', b"5"),
    ],
)  # fmt: skip
def test_what_is_no_record_is_malformed(raw: bytes) -> None:
    """Always this one error, whatever is wrong."""
    with pytest.raises(MalformedRecord):
        from_json(raw)


def test_a_record_survives_the_stream() -> None:
    """What is encoded with defaults left out comes back whole."""
    record = a_record(key_id=str(UUID(int=7)), wait_ms=3)
    assert from_json(msgspec.json.encode(record)) == from_record(record)


def test_rows_are_unique_and_in_order() -> None:
    """In the order of their primary key, in which two writers cannot deadlock."""
    rows = [a_row(3), a_row(1), a_row(3), a_row(2)]
    assert [row.request_id.int for row in unique(rows)] == [1, 2, 3]


def test_a_real_end_beats_an_orphaned_one() -> None:
    """Wherever it stands; else the first stays."""
    orphaned, real, again = a_row(error_code="orphaned"), a_row(status=200), a_row(status=500)
    assert unique([orphaned, real, again]) == [real]
    assert unique([real, orphaned]) == [real]


def test_the_last_use_of_each_key() -> None:
    """The latest of its requests; those of the internal token count for none."""
    key = UUID(int=7)
    rows = [a_row(key_id=str(key), admitted_ms=stamp) for stamp in (2000, 3000, 1000)]
    assert last_uses([*rows, a_row()]) == {str(key): datetime(1970, 1, 1, 0, 0, 3, tzinfo=UTC)}
