"""The record of a request in the usage log, and the one way to close a request there.

A request is open from its admission, in the same step, until somebody closes it: its worker, its api process, or a
recorder for an api process that died. `lua/finish.lua` says whose word counts; nobody else calls it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, Self

import msgspec

from shared.dialects.stored.pending import ResponseEnd
from shared.models.catalogue import nano_usd
from shared.openai.sessions.turn_end import TurnEnd
from shared.queue.story import StoryEvent, with_trace
from shared.redis import scripts
from shared.redis.names import (
    USAGE_STREAM,
    budget_key_at,
    in_progress_key,
    job_key,
    open_requests,
    owner_of,
    running_key,
    since_key,
    tokens_key,
    verdict_key,
)
from shared.types import MOST_NAME_CHARS, JobDraft, Usage

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.client import Pipeline

    from shared.errors import GatewayError
    from shared.models.catalogue import Catalogue

UsageSource = Literal["reported", "estimated", "none"]
"""Sources of token counts: the upstream's report, our estimate, or nowhere."""
ORPHANED = "orphaned"
"""The code of a request whose api process died."""
CLOSED = 1
"""Answer of `finish.lua` where a record closed its request, and so is reported: once for each request."""
RECORD_BYTES = 16 * 1024
"""Larger than any record of ours: what is longer can never become a row."""
_TEXTS = ("endpoint", "requested_model", "model", "error_code", "purpose")


class UsageRecord(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One request in the usage log. Times are milliseconds since 1970, durations milliseconds."""

    request_id: str
    key_id: str | None
    endpoint: str
    requested_model: str = msgspec.field(name="asked_model")  # as its JSON has it
    admitted_ms: int
    model: str = ""
    tier: str = ""
    stream: bool = False
    status: int = 200
    error_code: str | None = None
    error_reason: str | None = None
    """The upstream's words about the failure, masked and bounded."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    usage_source: UsageSource = "none"
    cost_usd: float = 0.0
    attempts: int = 0
    wait_ms: int | None = None
    first_token_ms: int | None = None
    duration_ms: int = 0
    added_tokens: int = 0
    """About how many of the prompt's tokens the gateway put before the client's messages."""
    purpose: str = ""
    """The purpose of a request of the gateway's own; a client's has none."""
    tokens_per_minute: int = 0
    """The key's limit; 0 where it has none. With it goes what was reserved of it at the admission."""
    reserved_tokens: int = 0
    story: tuple[StoryEvent, ...] = ()
    """Its story: events beside what every request goes through."""
    count: int = 1
    """Number of requests that the row stands for: more than one where a key was refused more often than has rows."""

    @classmethod
    def opened(cls, job: JobDraft) -> Self:
        """Return the record of a request as its admission knows it."""
        return cls(
            request_id=job.request_id,
            key_id=job.key_id,
            endpoint=job.dialect if job.endpoint == "chat" else job.endpoint,
            requested_model=job.requested_model,
            admitted_ms=job.admitted_ms,
            stream=job.stream,
            cost_usd=job.earlier_cost_usd,
            added_tokens=job.added_tokens,
            purpose=job.purpose,
            tokens_per_minute=job.tokens_per_minute,
            reserved_tokens=job.reserved_tokens,
            story=with_trace(job.story, job.trace, job.admitted_ms),
        )


def encode_record(record: UsageRecord) -> bytes:
    """Return a record as JSON, its texts bounded whoever chose them: less than `RECORD_BYTES`."""
    long = {
        name: text[:MOST_NAME_CHARS]
        for name in _TEXTS
        if (text := getattr(record, name)) is not None and len(text) > MOST_NAME_CHARS
    }
    return msgspec.json.encode(msgspec.structs.replace(record, **long) if long else record)


Finished = Callable[[UsageRecord], object]
"""Is told of each request that its process closed."""


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """Durations of a request to its start, its first token and its end, from its admission; milliseconds."""

    wait_ms: int | None
    first_token_ms: int | None
    duration_ms: int


class Counted(msgspec.Struct, frozen=True):
    """Token counts and where they are from."""

    usage: Usage
    source: UsageSource


NOTHING_SERVED = Counted(Usage(0, 0), "none")


def completed(
    record: UsageRecord, counted: Counted, error: GatewayError | None, times: Times, catalogue: Catalogue
) -> UsageRecord:
    """Return the record of a request that has ended; tokens of a paid model cost what the catalogue says.

    Args:
        record: as it was opened, with the tier and the model that served, the number of attempts, and what those
            before the last one cost.
        counted: what was answered, `NOTHING_SERVED` where nothing was.
        error: how it failed; None where it did not.
        times: how long it took.
        catalogue: the prices.
    """
    usage = counted.usage
    # Local and free tiers cost nothing here, whatever the catalogue says of a model of this name.
    is_paid = record.tier == "paid" and counted.source != "none"
    return msgspec.structs.replace(
        record,
        status=200 if error is None else error.status,
        error_code=None if error is None else error.code,
        error_reason=None if error is None else error.reason or None,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=usage.cached_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        usage_source=counted.source,
        cost_usd=record.cost_usd + (catalogue.cost_usd(record.model, usage) if is_paid else 0.0),
        wait_ms=times.wait_ms,
        first_token_ms=times.first_token_ms,
        duration_ms=times.duration_ms,
    )


class ClosingMode(StrEnum):
    """The requests that a closing may close."""

    OPEN = "open"
    """One that is open still, or was judged: what its api process says of it."""
    HELD = "held"
    """One that is open and whose job is there, or was judged: what a worker says of an attempt not superseded."""
    NEW = "new"
    """Any: nobody knows whether it was opened."""
    JUDGED = "judged"
    """One that is open still: a recorder's verdict, which gives way to what anybody knows."""


class Closing(msgspec.Struct, frozen=True, kw_only=True):
    """The end of an attempt, and with a record that of its request.

    Args:
        api_id: the api process that has the request open; hex digits.
        request_id: hex digits.
        job_id: the attempt's job, which is removed.
        queue: where the job was claimed; empty where it is not running.
        record: the usage record as JSON; empty to leave the request open.
        cost_nano_usd: what it cost, in billionths of a US dollar.
        owner: whose budget that counts for.
        budget: the key of the month's budget; empty where nothing is reserved and nothing was paid.
        closes: when it applies.
        attempt: the number of the attempt that the record is about; 0 where it is about none.
        admitted_ms: when the request was admitted.
        tokens: the key's tokens a minute, those reserved of them, and those used; empty where it has no such limit.
        usage: the record, for who is told that it closed the request.
        turn: how its session's turn ended, where it has or may have one; or the response that it is stored as.
    """

    api_id: str
    request_id: str
    job_id: str
    queue: str = ""
    record: bytes = b""
    cost_nano_usd: int = 0
    owner: str = ""
    budget: str = ""
    closes: ClosingMode = ClosingMode.OPEN
    attempt: int = 0
    admitted_ms: int = 0
    tokens: tuple[int, ...] = ()
    usage: UsageRecord | None = None
    turn: TurnEnd | ResponseEnd | None = None

    @classmethod
    def of(
        cls,
        record: UsageRecord,
        closes: ClosingMode,
        *,
        api_id: str,
        job_id: str,
        queue: str = "",
        turn: TurnEnd | ResponseEnd | None = None,
    ) -> Self:
        """Make the closing of a request with its usage record."""
        # A worker knows that what it served itself reserved nothing; the others may not know where the job stood.
        settles = closes is not ClosingMode.HELD or record.tier == "paid" or record.cost_usd > 0
        return cls(
            api_id=api_id,
            request_id=record.request_id,
            job_id=job_id,
            queue=queue,
            record=encode_record(record),
            cost_nano_usd=nano_usd(record.cost_usd),
            owner=owner_of(record.key_id),
            budget=budget_key_at(record.admitted_ms) if settles else "",
            closes=closes,
            attempt=record.attempts,
            admitted_ms=record.admitted_ms,
            tokens=(
                (record.tokens_per_minute, record.reserved_tokens, record.prompt_tokens + record.completion_tokens)
                if record.tokens_per_minute
                else ()
            ),
            turn=turn,
            usage=record,
        )

    def report(self, result: int, finished: Finished) -> None:
        """Report the request to `finished` if this closed it, as the `result` of `finish` says."""
        if result == CLOSED and self.usage is not None:
            finished(self.usage)

    def _call(self) -> tuple[str, list[str], list[str | bytes | int]]:
        """Return the script, `finish.lua` alone or with `turn.lua` or `response.lua`, its keys and arguments."""
        keys = [
            open_requests(self.api_id),
            USAGE_STREAM,
            job_key(self.job_id),
            in_progress_key(self.job_id),
            running_key(self.queue),
            since_key(self.api_id),
            verdict_key(self.request_id),
        ]
        if self.budget or self.tokens:
            # finish.lua settles where it is given these keys, and leaves budgets and tokens alone else.
            keys.append(self.budget)
        if self.tokens:
            keys.append(tokens_key(self.owner))
        arguments: list[str | bytes | int] = [self.request_id, self.record, self.job_id, self.cost_nano_usd, self.owner]
        arguments += (self.closes.value, self.attempt, self.admitted_ms, *self.tokens)
        if self.turn is None:
            return scripts.FINISH, keys, arguments
        script = scripts.FINISH_TURN if isinstance(self.turn, TurnEnd) else scripts.FINISH_RESPONSE
        return script, keys, [*arguments, *self.turn.arguments]


def finish(pipeline: Pipeline, closing: Closing) -> None:
    """Add a closing to a pipeline; its result is `CLOSED` where it closes the request, 2 where it replaces, else 0."""
    script, keys, arguments = closing._call()  # noqa: SLF001 -- the protocol is this module
    scripts.add(pipeline, script, keys, *arguments)


async def finish_now(redis: Redis, closing: Closing, finished: Finished | None = None) -> bool:
    """Close a request at once, and tell `finished`; return False where its record does not count, or it has none.

    Raises what `UNREACHABLE` names while Redis does not answer.
    """
    script, keys, arguments = closing._call()  # noqa: SLF001 -- the protocol is this module
    result = int(await scripts.run(redis, script, keys, *arguments))
    if finished is not None:
        closing.report(result, finished)
    return bool(result)
