"""The accounts of a backend: which one an attempt uses, and what its end means for that one.

Their state is in Redis. An account without quotas costs no step there as long as nothing is known against it.
While Redis is away attempts go on with what was known last.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from shared.errors import GatewayError, Unavailable
from shared.models.catalogue import Catalogue, Quota
from shared.process.outage import OutageLog
from shared.process.tasks import wait_or
from shared.redis.client import UNREACHABLE
from workers.accounts.account import Account, Lease
from workers.accounts.log import AccountLog
from workers.accounts.outcome import FailureClass, Refusal, failure_class_of, refused, retry_after_s, used_nothing
from workers.accounts.state import AccountStateStore, Candidate, How, Outcome, Reservation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

_log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
REDIS_S: Final = 1.0
"""How long a step in Redis may hold an attempt up, and how long after a failure none is tried."""
UNHEALTHY_S: Final = 30.0
LONGEST_JITTER_S: Final = 0.1
_UNLIMITED: Final = Quota()


class Accounts:
    """The accounts of one backend of this process.

    Args:
        state: their state.
        accounts: they may be replaced later.
        catalogue: the limits of an account that has none of its own; without it nothing is counted.
        most_waiting: how many attempts may wait for a quota at once, since each of them holds a slot.
    """

    def __init__(
        self,
        state: AccountStateStore,
        accounts: Sequence[Account] = (),
        catalogue: Catalogue | None = None,
        *,
        most_waiting: int = 8,
    ) -> None:
        self._state = state
        self._log = AccountLog(state.queue)
        self._accounts = tuple(accounts)
        self._catalogue = catalogue
        self._most_waiting = most_waiting
        self._waiting = 0
        self._marks: dict[str, int] = {}
        self._good: dict[tuple[str, str], int] = {}
        self._unhealthy: dict[str, float] = {}
        self._away_until = 0.0
        self._outage = OutageLog(_log, "Redis", "accounts")
        self._replaced = asyncio.Event()
        self._changed: Callable[[], None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def all(self) -> tuple[Account, ...]:
        """Those of now."""
        return self._accounts

    def closed_ms(self) -> dict[str, int]:
        """Until when no account can serve a model, in ms since 1970; `""` stands for every model."""
        now_ms = time.time() * 1000
        return {model: until for model, until in sorted(self._marks.items()) if until > now_ms}

    async def replace(self, accounts: Sequence[Account]) -> None:
        """Use other accounts from now on. Those that are gone are closed when their attempts have ended."""
        gone = [account for account in self._accounts if account not in accounts]
        self._accounts = tuple(accounts)
        self._marks = {}
        self._log.forget(gone)
        for account in gone:
            self._unhealthy.pop(account.id, None)
            self._later(account.close())
        replaced, self._replaced = self._replaced, asyncio.Event()
        replaced.set()
        try:
            await self._state.reopen()
        except UNREACHABLE as error:
            self._is_away(error)

    @asynccontextmanager
    async def hold(
        self, model: str, prompt_tokens: Callable[[], int], *, is_last: bool = False, due: float | None = None
    ) -> AsyncIterator[Lease]:
        """An account for one attempt. The error that leaves the context is what the account is judged by.

        Args:
            model: what is asked for.
            prompt_tokens: an estimate, where it is counted.
            is_last: nothing else can serve: a minute's quota is waited for, and an unhealthy account is tried, once a
                second.
            due: until when that wait may last, by the loop's clock.

        Raises:
            Throttled, Rejected, Unavailable: no account can be used now.
        """
        lease = await self._lease(model, prompt_tokens, is_last=is_last, due=due)
        lease.account.hold()
        try:
            yield lease
        except GatewayError as error:
            await self._failed(lease, error)
            raise
        except BaseException:
            self._ended(lease)
            raise
        else:
            lease.began()
            self._ended(lease)
        finally:
            lease.account.release()

    async def refused_again(self, account: Account, error: GatewayError) -> None:
        """A credential that was refused still is.

        Raises:
            RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
        """
        (candidate,) = self._candidates("", [account])
        await self._state.fail(FailureClass("rejected"), "probe", "", candidate, error)

    async def follow(self, on_change: Callable[[], None]) -> None:
        """Keep up with what other workers found out, for good.

        Args:
            on_change: called when `closed_ms` changed.
        """
        self._changed = on_change
        while True:
            good, self._good = self._good, {}
            try:
                async with asyncio.timeout(REDIS_S):
                    self._mark(await self._state.look(good))
            except UNREACHABLE as error:
                self._outage.failed(error)
            else:
                self._outage.answered()
            await asyncio.sleep(LOOK_S)

    async def close(self) -> None:
        """Say what is still to be said of ended attempts, and close every connection."""
        for account in self._accounts:
            self._later(account.close())
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2 * REDIS_S)
        for task in list(self._tasks):
            task.cancel()

    async def _lease(self, model: str, prompt_tokens: Callable[[], int], *, is_last: bool, due: float | None) -> Lease:
        how: How = "last" if is_last else "take"
        clock = asyncio.get_running_loop().time
        while True:
            accounts, replaced = list(self._accounts), self._replaced
            if not accounts:
                raise Unavailable("No account is configured for this model.", code="no_account")
            if self._catalogue is None and len(accounts) == 1 and not {model, ""} & self._marks.keys():
                return Lease(accounts[0], model, None)
            random.shuffle(accounts)
            tokens = prompt_tokens() if self._catalogue is not None else 1
            chosen = await self._reserve(how, model, tokens, accounts)
            if chosen is None:
                return Lease(min(accounts, key=self._unhealthy_until), model, None)
            if isinstance(chosen, Reservation):
                return Lease(accounts[chosen.account], model, chosen, self._answered)
            if not chosen.quota_wait_ms or self._waiting >= self._most_waiting:
                raise refused(chosen)
            wait_s = chosen.quota_wait_ms / 1000 + random.uniform(0, LONGEST_JITTER_S)
            if due is not None and clock() + wait_s < due:
                self._waiting += 1
                try:
                    await wait_or(replaced, wait_s)
                finally:
                    self._waiting -= 1
            else:
                how = "force"

    async def _reserve(
        self, how: How, model: str, tokens: int, accounts: Sequence[Account]
    ) -> Reservation | Refusal | None:
        """What the state says; None while Redis is away."""
        if time.monotonic() < self._away_until:
            return None
        try:
            async with asyncio.timeout(REDIS_S):
                chosen = await self._state.reserve(how, model, tokens, self._candidates(model, accounts))
        except UNREACHABLE as error:
            self._is_away(error)
            return None
        if chosen.closed_ms:
            self._mark({**self._marks, model: chosen.closed_ms})
        return chosen

    def _answered(self, lease: Lease) -> None:
        """A probe ends with the first word, not with the last."""
        reservation = lease.reservation
        if reservation is not None and reservation.role:
            lease.reservation = msgspec.structs.replace(reservation, role="")
            self._later(self._settle(lease, "good", msgspec.structs.replace(reservation, id="")))

    def _ended(self, lease: Lease) -> None:
        """The attempt ended, and the account is not to blame."""
        key = (lease.account.id, lease.model)
        if lease.answers:
            self._good[key] = self._good.get(key, 0) + 1
        if lease.reservation is not None:
            self._later(self._settle(lease, "good" if lease.answers else "used", lease.reservation))

    async def _failed(self, lease: Lease, error: GatewayError) -> None:
        """Judge the account, before anyone tries again."""
        failure = None if lease.answers else failure_class_of(error, datetime.now(UTC))
        if failure is None:
            if lease.answers or not used_nothing(error):
                self._ended(lease)
            elif lease.reservation is not None:
                await self._settle(lease, "unused", lease.reservation)
            return
        account, model = lease.account, lease.model
        self._unhealthy[account.id] = time.monotonic() + UNHEALTHY_S
        role = lease.reservation.role if lease.reservation else ""
        good = self._good.pop((account.id, model), 0)
        accounts = self._accounts
        try:
            async with asyncio.timeout(REDIS_S):
                candidate = self._candidates(model, [account])[0]
                until = await self._state.fail(failure, role, model, candidate, error, good=good)
                closed_ms, open_ones = await self._state.peek(model, self._candidates(model, accounts))
                marks = await self._state.look({})
        except UNREACHABLE as problem:
            self._is_away(problem)
            return
        self._log.cooling_down(account, model, failure.kind, until, error.code, is_alone=len(accounts) == 1)
        self._mark(marks)
        error.retry_here = any(accounts[position] is not account for position in open_ones)
        error.retry_after_s = retry_after_s(error, closed_ms, time.time())

    async def _settle(self, lease: Lease, outcome: Outcome, reservation: Reservation) -> None:
        if not reservation.id and not reservation.role:
            return
        candidate = self._candidates(lease.model, [lease.account])[0]
        try:
            async with asyncio.timeout(REDIS_S):
                await self._state.settle(
                    outcome,
                    reservation,
                    lease.model,
                    candidate,
                    prompt_tokens=lease.prompt_tokens,
                    all_tokens=lease.all_tokens,
                )
                if reservation.role:
                    self._mark(await self._state.look({}))
        except UNREACHABLE as error:
            self._is_away(error)

    def _unhealthy_until(self, account: Account) -> float:
        """Until when an account that failed here comes last while Redis is away; 0 for one that did not."""
        until = self._unhealthy.get(account.id, 0.0)
        return until if until > time.monotonic() else 0.0

    def _candidates(self, model: str, accounts: Sequence[Account]) -> list[Candidate]:
        quota = _UNLIMITED if self._catalogue is None else self._catalogue.quota(model)
        return [account.as_candidate(quota) for account in accounts]

    def _mark(self, marks: dict[str, int]) -> None:
        before = self.closed_ms()
        self._marks = marks
        after = self.closed_ms()
        for model, until in after.items():
            self._log.closed(model, until)
        # While a probe is under way the end moves with every look; nobody needs to know that at once.
        moved = any(abs(until - before.get(model, 0)) > 1000 * LOOK_S for model, until in after.items())
        if self._changed is not None and (moved or before.keys() != after.keys()):
            self._changed()

    def _is_away(self, error: BaseException) -> None:
        self._outage.failed(error)
        self._away_until = time.monotonic() + REDIS_S

    def _later(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
