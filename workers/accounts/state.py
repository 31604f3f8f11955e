"""The accounts' state in Redis, which every worker of a tier on every machine shares: one script for each step."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from shared.models.quota_day import ms_until_reset, quota_day
from shared.redis import scripts
from shared.redis.names import account_key, breaker_key, closed_key, quota_keys, window_key
from workers.accounts.outcome import FailureClass, NoAccount

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis.asyncio import Redis

    from shared.errors import GatewayError
    from shared.models.catalogue import Quota

How = Literal["take", "last", "force", "peek"]
Role = Literal["", "probe", "forced"]
Outcome = Literal["good", "unused", "used"]
"""The account answered; nothing of its quotas was used; that is not known."""
_ROLES: Final[dict[bytes, Role]] = {b"": "", b"probe": "probe", b"forced": "forced"}
BUCKET_S: Final = 5
WINDOW_MS: Final = 35_000
"""Both as in account_fail.lua."""


class AccountCandidate(msgspec.Struct, frozen=True):
    """An account as the scripts see it.

    Args:
        id: its name in Redis.
        scope: what its quotas are counted by; accounts of one project have the same.
        fingerprint: tells its credential from the one that it had before.
        quota: what it may use of the model.
    """

    id: str
    scope: str
    fingerprint: str
    quota: Quota


class Reservation(msgspec.Struct, frozen=True):
    """A reservation for an attempt.

    Args:
        account: the candidate's position.
        role: `probe`: the one attempt that finds out whether the account is well again; `forced`: tried although it is
            known not to be, since nothing else can serve.
        id: the entry in the account's log; empty where nothing is counted.
        requests: how many it is for.
        day: the US Pacific day that it counts for.
        closed_ms: until when the backend can serve nothing more of this model, 0 where it can.
    """

    account: int
    role: Role = ""
    id: str = ""
    requests: int = 1
    day: str = ""
    closed_ms: int = 0


class AccountStateStore:
    """The state of the accounts of one backend. Each method raises `UNREACHABLE` while Redis does not answer.

    Args:
        redis: connections that every part shares.
        queue: the backend's queue.
        probe_s: how long an attempt that probes may take until another may probe too, in seconds.
        is_counted: whether uses are counted; where not, only failures are.
    """

    def __init__(self, redis: Redis, queue: str, *, probe_s: float, is_counted: bool) -> None:
        self.queue = queue
        self._redis = redis
        self._closed_key = closed_key(queue)
        self._probe_ms = int(probe_s * 1000)
        self._is_counted = is_counted

    async def reserve(
        self, how: How, model: str, prompt_tokens: int, candidates: Sequence[AccountCandidate], *, requests: int = 1
    ) -> Reservation | NoAccount:
        """Choose an account and take what an attempt needs of it: so many requests, which share the prompt tokens."""
        now = datetime.now(UTC)
        day = quota_day(now)
        # One of its own, so that two attempts of a millisecond are two entries of the log.
        use = os.urandom(8).hex() if self._is_counted else ""
        reply = await self._ask(how, model, prompt_tokens, candidates, use=use, requests=requests, now=now)
        if reply[0] == b"ok":
            return Reservation(int(reply[1]) - 1, _ROLES[reply[2]], use, requests, day, int(reply[3]))
        _, closed_ms, why, ends_ms, _, now_ms, quota_ms = reply
        wait_ms = max(1, int(ends_ms) - int(now_ms))
        quota_wait_ms = max(1, int(quota_ms) - int(now_ms)) if int(quota_ms) else 0
        return NoAccount(why.decode(), wait_ms, int(closed_ms), quota_wait_ms)

    async def peek(self, model: str, candidates: Sequence[AccountCandidate]) -> tuple[int, set[int]]:
        """Return until when the backend is closed for a model (0: it is not), and the positions of open accounts."""
        reply = await self._ask("peek", model, 1, candidates, use="", requests=1, now=datetime.now(UTC))
        return int(reply[1]), {int(number) - 1 for number in reply[2:]}

    async def settle(
        self,
        outcome: Outcome,
        reservation: Reservation,
        model: str,
        candidate: AccountCandidate,
        *,
        prompt_tokens: int | None = None,
        all_tokens: int = 0,
    ) -> None:
        """End an attempt that blames no account, with what the upstream says that it used."""
        # Of the day that it was reserved for: an attempt may run past midnight.
        quota, minute, tokens, day = quota_keys(candidate.scope, model, reservation.day)
        account, breaker, window = _health_keys(candidate, model)
        keys = [self._closed_key, account, breaker, quota, minute, tokens, day, window]
        counted = "" if prompt_tokens is None else prompt_tokens
        head = (outcome, reservation.role, model, candidate.id, reservation.id, reservation.requests)
        await scripts.run(self._redis, scripts.ACCOUNT_SETTLE, keys, *head, counted, all_tokens)

    async def fail(
        self,
        failure: FailureClass,
        role: Role,
        model: str,
        candidate: AccountCandidate,
        error: GatewayError,
        *,
        good: int = 0,
    ) -> int:
        """Record that an account failed; return until when it is out of use for the model (ms since 1970), or 0.

        Args:
            failure: what the error says of the account.
            role: of the attempt.
            model: what was asked for.
            candidate: the account.
            error: how the attempt ended.
            good: how many attempts went well since this was last reported.
        """
        quota, *_ = quota_keys(candidate.scope, model, "")
        account, breaker, window = _health_keys(candidate, model)
        limits = [part for limit in failure.limits for part in limit]
        arguments = (failure.kind, role, msgspec.json.encode(error.to_info()), candidate.fingerprint)
        until: int = await scripts.run(
            self._redis,
            scripts.ACCOUNT_FAIL,
            [account, breaker, quota, window],
            *(*arguments, failure.period, failure.cool_ms, good, *limits),
        )
        return until

    async def look(self, good: Mapping[tuple[str, str], int]) -> dict[str, int]:
        """Publish what went well; return the models that are or were closed, by their ends in ms; `""` is all.

        Args:
            good: how many attempts of an account (its id) at a model went well since this was last reported.
        """
        pipeline = self._redis.pipeline(transaction=False)
        bucket = int(datetime.now(UTC).timestamp()) // BUCKET_S
        for (account, model), count in good.items():
            pipeline.hincrby(window_key(account, model), f"good:{bucket}", count)
            pipeline.pexpire(window_key(account, model), WINDOW_MS)
        pipeline.zrange(self._closed_key, 0, -1, withscores=True)
        *_, closed = await pipeline.execute()
        return {model.decode(): int(until) for model, until in closed}

    async def reopen(self) -> None:
        """Forget what is closed: the accounts are other ones now."""
        await self._redis.delete(self._closed_key)

    async def _ask(
        self,
        how: How,
        model: str,
        prompt_tokens: int,
        candidates: Sequence[AccountCandidate],
        *,
        use: str,
        requests: int,
        now: datetime,
    ) -> list[bytes]:
        keys = [self._closed_key]
        arguments: list[str | int] = []
        day = quota_day(now)
        for candidate in candidates:
            account, breaker, _ = _health_keys(candidate, model)
            keys += [account, breaker, *quota_keys(candidate.scope, model, day)]
            quota = candidate.quota
            limits = (quota.requests_per_minute, quota.prompt_tokens_per_minute, quota.requests_per_day)
            arguments += [candidate.id, candidate.fingerprint, *(limit or 0 for limit in limits)]
        until_reset = ms_until_reset(now)
        head = (how, model, prompt_tokens, use, self._probe_ms, until_reset, int(self._is_counted), requests)
        reply: list[bytes] = await scripts.run(self._redis, scripts.ACCOUNT_RESERVE, keys, *head, *arguments)
        return reply


def _health_keys(candidate: AccountCandidate, model: str) -> tuple[str, str, str]:
    return account_key(candidate.id), breaker_key(candidate.id, model), window_key(candidate.id, model)
