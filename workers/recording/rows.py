"""Usage records as rows of np_claw_api_usage."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import UUID

import msgspec

from shared.errors import MOST_REASON_CHARS
from shared.queue.story import MOST_STORY
from shared.usage import ORPHANED, UsageRecord

if TYPE_CHECKING:
    from collections.abc import Iterable

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_decoder: Final = msgspec.json.Decoder(UsageRecord)


class MalformedRecord(Exception):
    """An entry that can never become a row; the text says why."""


class UsageRow(NamedTuple):
    """A row, its fields in the order of the parameters of `queries.UPSERT_USAGE`."""

    day: date
    request_id: UUID
    key_id: UUID | None
    endpoint: str
    asked_model: str
    model: str
    tier: str
    stream: bool
    status: int
    error_code: str | None
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    usage_source: str
    cost_usd: float
    attempts: int
    wait_ms: int | None
    first_token_ms: int | None
    duration_ms: int
    admitted_at: datetime
    stands_for: int
    added_tokens: int
    error_reason: str | None
    purpose: str
    story: str | None


def from_json(raw: bytes) -> UsageRow:
    """Return the row of a record as it stands in the usage stream.

    Raises:
        MalformedRecord: it is no record, or its ids or its time make no sense.
    """
    try:
        return from_record(_decoder.decode(raw))
    except (msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise MalformedRecord(str(error)) from error


def from_record(record: UsageRecord) -> UsageRow:
    """Return the row of a record.

    Raises:
        ValueError, OverflowError: an id is no UUID, or the time is out of range.
    """
    admitted_at = _EPOCH + timedelta(milliseconds=record.admitted_ms)
    return UsageRow(
        day=admitted_at.date(),
        request_id=UUID(record.request_id),
        key_id=UUID(record.key_id) if record.key_id else None,
        endpoint=_text(record.endpoint),
        asked_model=_text(record.requested_model),
        model=_text(record.model),
        tier=_text(record.tier),
        stream=record.stream,
        status=record.status,
        error_code=None if record.error_code is None else _text(record.error_code),
        prompt_tokens=record.prompt_tokens,
        completion_tokens=record.completion_tokens,
        cached_tokens=record.cached_tokens,
        reasoning_tokens=record.reasoning_tokens,
        usage_source=record.usage_source,
        cost_usd=record.cost_usd,
        attempts=record.attempts,
        wait_ms=record.wait_ms,
        first_token_ms=record.first_token_ms,
        duration_ms=record.duration_ms,
        admitted_at=admitted_at,
        stands_for=record.count,
        added_tokens=record.added_tokens,
        error_reason=None if record.error_reason is None else _text(record.error_reason[:MOST_REASON_CHARS]),
        purpose=_text(record.purpose),
        story=msgspec.json.encode(record.story[:MOST_STORY]).decode() if record.story else None,
    )


def unique(rows: Iterable[UsageRow]) -> list[UsageRow]:
    """Return one row for each (day, request id), in that order: one upsert takes them, and two cannot deadlock.

    Of rows with the same id the one that is better known wins (`queries.UPSERT_USAGE`), else the first.
    """
    kept: dict[tuple[date, UUID], UsageRow] = {}
    for row in rows:
        key = (row.day, row.request_id)
        if key not in kept or _is_better_known(row, kept[key]):
            kept[key] = row
    # In one order in every recorder, so that two upserts lock rows alike.
    return [kept[key] for key in sorted(kept)]


def _is_better_known(row: UsageRow, kept: UsageRow) -> bool:
    """Return whether a row is of a later attempt, is no verdict as the other one is, or stands for more requests."""
    if row.attempts != kept.attempts:
        return row.attempts > kept.attempts
    return (kept.error_code == ORPHANED != row.error_code) or row.stands_for > kept.stands_for


def last_uses(rows: Iterable[UsageRow]) -> dict[str, datetime]:
    """Return when each key among `rows` was last used."""
    uses: dict[str, datetime] = {}
    for row in rows:
        if row.key_id is not None:
            key_id = str(row.key_id)
            uses[key_id] = max(uses.get(key_id, row.admitted_at), row.admitted_at)
    return uses


def _text(text: str) -> str:
    """Return a text without NUL, the one character that PostgreSQL's text does not hold: clients name models."""
    return text.replace("\x00", "\ufffd")
