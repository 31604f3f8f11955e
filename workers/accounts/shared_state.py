"""The accounts' state as one process uses it: bounded in time, and going on with what was known while Redis is away."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from shared.models.catalogue import Catalogue, Quota
from shared.process.outage import OutageLog
from shared.redis.client import UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shared.errors import GatewayError
    from workers.accounts.account import Account, Lease
    from workers.accounts.log import AccountLog
    from workers.accounts.outcome import FailureClass, NoAccount
    from workers.accounts.state import AccountCandidate, AccountStateStore, How, Outcome, Reservation

_log = logging.getLogger(__name__)

REDIS_S: Final = 1.0
"""Time that a step in Redis may hold an attempt up, and after a failure none is tried."""
NEWS_MS: Final = 1000
"""By how much an end must move to be news: while a probe is under way it moves with every look."""
_UNLIMITED: Final = Quota()


class SharedState:
    """The state of one backend's accounts, with what was known of it last.

    Args:
        store: where it is.
        catalogue: the limits of an account that has none of its own; without it nothing is counted.
        log: reports which models are closed.
    """

    def __init__(self, store: AccountStateStore, catalogue: Catalogue | None, log: AccountLog) -> None:
        self._store = store
        self._catalogue = catalogue
        self._log = log
        self._closed_until: dict[str, int] = {}
        self._away_until = 0.0
        self._outage = OutageLog(_log, "Redis", "accounts")
        self.on_change: Callable[[], None] | None = None

    @property
    def is_counted(self) -> bool:
        """Return whether uses are counted."""
        return self._catalogue is not None

    def was_closed(self, model: str) -> bool:
        """Return whether something was known against a model, or against all, at the last look."""
        return not {model, ""}.isdisjoint(self._closed_until)

    def closed_ms(self) -> dict[str, int]:
        """Return until when no account can serve a model, in ms since 1970; `""` stands for every model."""
        now_ms = time.time() * 1000
        return {model: until for model, until in sorted(self._closed_until.items()) if until > now_ms}

    def closed_s(self, model: str) -> float:
        """Return for how many seconds no account can serve a model, as far as is known; 0 where one can."""
        until_ms = max(self._closed_until.get(name, 0) for name in (model, ""))
        return max(0.0, until_ms / 1000 - time.time())

    async def reopen(self) -> None:
        """Forget what is closed: the accounts are other ones now."""
        self._closed_until = {}
        try:
            await self._store.reopen()
        except UNREACHABLE as error:
            self._is_away(error)

    async def look(self, good: Mapping[tuple[str, str], int]) -> None:
        """Refresh what other workers found out; `good` are the attempts that went well since, by account and model."""
        try:
            async with asyncio.timeout(REDIS_S):
                self.note_closed(await self._store.look(good))
        except UNREACHABLE as error:
            self._outage.failed(error)
        else:
            self._outage.answered()

    async def reserve(
        self, how: How, model: str, tokens: int, accounts: Sequence[Account], *, requests: int = 1
    ) -> Reservation | NoAccount | None:
        """Choose an account and take what an attempt needs of it; None while Redis is away."""
        if time.monotonic() < self._away_until:
            return None
        try:
            async with asyncio.timeout(REDIS_S):
                candidates = self.candidates(model, accounts)
                chosen = await self._store.reserve(how, model, tokens, candidates, requests=requests)
        except UNREACHABLE as error:
            self._is_away(error)
            return None
        if chosen.closed_ms:
            self.note_closed({**self._closed_until, model: chosen.closed_ms})
        return chosen

    async def settle(self, lease: Lease, outcome: Outcome, reservation: Reservation) -> None:
        """End an attempt that blames no account."""
        # Nothing was counted and nothing is probed: without quotas an attempt takes no step in Redis.
        if not reservation.id and not reservation.role:
            return
        (candidate,) = self.candidates(lease.model, [lease.account])
        counts = {"prompt_tokens": lease.prompt_tokens, "all_tokens": lease.all_tokens}
        try:
            async with asyncio.timeout(REDIS_S):
                await self._store.settle(outcome, reservation, lease.model, candidate, **counts)  # type: ignore[arg-type]  # as names and numbers
                # A probe may have opened the model again: known at once, not with the next look.
                if reservation.role:
                    self.note_closed(await self._store.look({}))
        except UNREACHABLE as error:
            self._is_away(error)

    async def fail(
        self, failure: FailureClass, lease: Lease, error: GatewayError, accounts: Sequence[Account], *, good: int
    ) -> tuple[int, set[int]] | None:
        """Record that the account of an attempt failed; None while Redis is away.

        Args:
            failure: what the error says of the account.
            lease: of the attempt.
            error: how the attempt ended.
            accounts: all of them.
            good: how many attempts of the account went well since this was last reported.

        Returns:
            Until when the backend is out of use for the model (ms since 1970, 0 where it is not), and the positions of
            the accounts that are open.
        """
        role = lease.reservation.role if lease.reservation else ""
        (candidate,) = self.candidates(lease.model, [lease.account])
        try:
            async with asyncio.timeout(REDIS_S):
                until = await self._store.fail(failure, role, lease.model, candidate, error, good=good)
                closed_ms, open_ones = await self._store.peek(lease.model, self.candidates(lease.model, accounts))
                closed = await self._store.look({})
        except UNREACHABLE as problem:
            self._is_away(problem)
            return None
        if until:
            # First: who cools down and why is logged before what that closes.
            is_alone = len(accounts) == 1
            self._log.cooling_down(lease.account, lease.model, failure.kind, until, error, is_alone=is_alone)
        self.note_closed(closed)
        return closed_ms, open_ones

    async def reject(self, account: Account, failure: FailureClass, error: GatewayError) -> None:
        """Record that an account's credential is rejected still.

        Raises:
            RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
        """
        # Of no one model: what a credential is refused for holds for all.
        (candidate,) = self.candidates("", [account])
        await self._store.fail(failure, "probe", "", candidate, error)

    def candidates(self, model: str, accounts: Sequence[Account]) -> list[AccountCandidate]:
        """Return the accounts as the scripts see them."""
        quota = _UNLIMITED if self._catalogue is None else self._catalogue.quota(model)
        return [account.as_candidate(quota) for account in accounts]

    def note_closed(self, closed: dict[str, int]) -> None:
        """Replace what is or was closed, each model with its end in ms since 1970; a change is passed on."""
        before = self.closed_ms()
        self._closed_until = closed
        after = self.closed_ms()
        for model, until in after.items():
            self._log.closed(model, until)
        moved = any(abs(until - before.get(model, 0)) > NEWS_MS for model, until in after.items())
        if self.on_change is not None and (moved or before.keys() != after.keys()):
            self.on_change()

    def _is_away(self, error: BaseException) -> None:
        self._outage.failed(error)
        self._away_until = time.monotonic() + REDIS_S
