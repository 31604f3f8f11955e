"""The accounts of a backend: which one an attempt uses, and what its end means for that one.

Their state is in Redis. An account without quotas costs no step there as long as nothing is known against it.
While Redis is away attempts go on with what was known last.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from shared.errors import GatewayError, Throttled, Unavailable, UpstreamError
from shared.models.catalogue import Catalogue
from shared.process.tasks import wait_or
from workers.accounts.account import Account, Lease
from workers.accounts.log import AccountLog
from workers.accounts.outcome import FailureClass, NoAccount, failure_class_of, retry_after_s, used_nothing
from workers.accounts.shared_state import SharedState
from workers.accounts.slots import AdaptiveSlots
from workers.accounts.state import AccountStateStore, How, Reservation
from workers.reasons import reason_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

LOOK_S: Final = 1.0
CLOSE_S: Final = 2.0
UNHEALTHY_S: Final = 30.0
LONGEST_JITTER_S: Final = 0.1
FULL_RETRY_S: Final = 1.0
"""Time after which to come back to an upstream whose slots are all in use."""


class Accounts:
    """The accounts of one backend of this process.

    Args:
        state: their state.
        accounts: they may be replaced later.
        catalogue: the limits of an account that has none of its own; without it nothing is counted.
        most_waiting: how many attempts may wait for a quota beside those that run.

    Attributes:
        slots: how many attempts the upstream takes at once.
    """

    def __init__(
        self,
        state: AccountStateStore,
        accounts: Sequence[Account] = (),
        catalogue: Catalogue | None = None,
        *,
        most_waiting: int = 8,
    ) -> None:
        self._log = AccountLog(state.queue)
        self._state = SharedState(state, catalogue, self._log)
        self._accounts = tuple(accounts)
        self._most_waiting = most_waiting
        self.slots = AdaptiveSlots()
        self._waiting = 0
        self._good: dict[tuple[str, str], int] = {}
        self._unhealthy: dict[str, float] = {}
        self._replaced = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def all(self) -> tuple[Account, ...]:
        """Return the current accounts."""
        return self._accounts

    @property
    def claimable(self) -> int:
        """Return how many attempts this process may have at once: those that run, and some that wait for a quota."""
        return self.slots.count + min(self._waiting, self._most_waiting)

    def closed_ms(self) -> dict[str, int]:
        """Return until when no account can serve a model, in ms since 1970; `""` stands for every model."""
        return self._state.closed_ms()

    async def replace(self, accounts: Sequence[Account]) -> None:
        """Use other accounts from now on. Those that are gone are closed when their attempts have ended."""
        gone = [account for account in self._accounts if account not in accounts]
        self._accounts = tuple(accounts)
        self._log.forget(gone)
        for account in gone:
            self._unhealthy.pop(account.id, None)
            self._later(account.close())
        # A new event before the old one is set: who waits is woken, who comes now waits for the next change.
        replaced, self._replaced = self._replaced, asyncio.Event()
        replaced.set()
        await self._state.reopen()

    @asynccontextmanager
    async def lease(
        self,
        model: str,
        prompt_tokens: Callable[[], int],
        *,
        requests: int = 1,
        is_last: bool = False,
        due: float | None = None,
    ) -> AsyncIterator[Lease]:
        """Lease an account for one attempt. The error that leaves the context is what the account is judged by.

        Args:
            model: what is asked for.
            prompt_tokens: an estimate for all its requests, where that is counted.
            requests: how many the attempt makes.
            is_last: nothing else can serve: a slot and a quota are waited for, and an unhealthy account is tried.
            due: until when that wait may last, by the loop's clock.

        Raises:
            Throttled, Rejected, Unavailable: no account can be used now, or in time.
        """
        # What can go elsewhere does not wait here: the api looks for another place at once.
        if not await self.slots.enter(due if is_last else None):
            wait_s = max(self.slots.wait_s() or FULL_RETRY_S, 0.0 if is_last else self._state.closed_s(model))
            raise Throttled("The model server takes no more requests now.", retry_after_s=wait_s)
        try:
            lease = await self._acquire(model, prompt_tokens, requests, is_last=is_last, due=due)
            lease.account.take()
            try:
                yield lease
            except GatewayError as error:
                if isinstance(error, UpstreamError):
                    error.reason = reason_of(error)
                await self._failed(lease, error)
                raise
            # A cancelled attempt, above all: it says nothing of the account, but what it took must be given back.
            except BaseException:
                self._ended(lease)
                raise
            else:
                lease.began()
                self._ended(lease)
            finally:
                lease.account.release()
        finally:
            self.slots.leave()

    def may_ask_again(self, rejection: GatewayError) -> bool:
        """Return whether an attempt that nothing else can serve should wait its turn and ask again after `rejection`.

        Only what took the attempt for one too many is asked again: that it failed, or that another account may serve,
        is for the api to follow up.
        """
        if isinstance(rejection, Throttled):
            return not rejection.retry_here
        return isinstance(rejection, UpstreamError) and rejection.is_overload and self.slots.is_in_use

    async def rejected_again(self, account: Account, error: GatewayError) -> None:
        """Record that a credential that was rejected is rejected still.

        Raises:
            RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
        """
        await self._state.reject(account, FailureClass("rejected"), error)

    async def follow(self, on_change: Callable[[], None]) -> None:
        """Follow what other workers found out, for good.

        Args:
            on_change: called when `closed_ms` changed.
        """
        self._state.on_change = on_change
        while True:
            good, self._good = self._good, {}
            await self._state.look(good)
            await asyncio.sleep(LOOK_S)

    async def close(self) -> None:
        """Write what is left to record of ended attempts, and close every connection."""
        for account in self._accounts:
            self._later(account.close())
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_S)
        for task in list(self._tasks):
            task.cancel()

    async def _acquire(
        self, model: str, prompt_tokens: Callable[[], int], requests: int, *, is_last: bool, due: float | None
    ) -> Lease:
        how: How = "last" if is_last else "take"
        clock = asyncio.get_running_loop().time
        while True:
            accounts, replaced = list(self._accounts), self._replaced
            if not accounts:
                raise Unavailable("No account is configured for this model.", code="no_account")
            if self._is_plain and not self._state.was_closed(model):
                return Lease(accounts[0], model, None, self._answered)
            # Equals in random order, so that all are used alike.
            random.shuffle(accounts)
            tokens = prompt_tokens() if self._state.is_counted else 1
            chosen = await self._state.reserve(how, model, tokens, accounts, requests=requests)
            if chosen is None:
                # Redis is away: go on uncounted, rather than let nobody be served.
                return Lease(min(accounts, key=self._unhealthy_until), model, None, self._answered)
            if isinstance(chosen, NoAccount) and chosen.why != "failing" and is_last and self._is_plain:
                # The slots let one attempt at a time through to it; its answer clears what is known against it.
                chosen = Reservation(0, "forced")
            if isinstance(chosen, Reservation):
                return Lease(accounts[chosen.account], model, chosen, self._answered)
            wait_s = _wait_s(chosen, is_last=is_last)
            if wait_s is None:
                raise chosen.error()
            if due is not None and clock() + wait_s < due:
                await self._wait(replaced, wait_s)
            # No time is left to wait for the minute's quota. Our count may be wrong; the upstream says so if not.
            elif chosen.quota_wait_ms and how != "force":
                how = "force"
            else:
                raise chosen.error()

    async def _wait(self, replaced: asyncio.Event, wait_s: float) -> None:
        """Wait for a quota. Meanwhile others may use the slot."""
        self._waiting += 1
        self.slots.leave()
        try:
            await wait_or(replaced, min(wait_s, LOOK_S) + random.uniform(0, LONGEST_JITTER_S))
        finally:
            self._waiting -= 1
            # One too many perhaps: whoever used the slot meanwhile is not interrupted.
            self.slots.take()

    @property
    def _is_plain(self) -> bool:
        """Return whether there is one account without quotas: the upstream itself is what can be tried or not."""
        return not self._state.is_counted and len(self._accounts) == 1

    def _answered(self, lease: Lease) -> None:
        """Settle a probe with the first content of its answer, not with the last."""
        self.slots.answered()
        reservation = lease.reservation
        if reservation is not None and reservation.role:
            # An ordinary attempt from here on: the probe is settled now, what it took of the quota at its end.
            lease.reservation = msgspec.structs.replace(reservation, role="")
            self._later(self._state.settle(lease, "good", msgspec.structs.replace(reservation, id="")))

    def _ended(self, lease: Lease) -> None:
        """Settle an attempt for which no account is to blame."""
        key = (lease.account.id, lease.model)
        if lease.answers:
            self._good[key] = self._good.get(key, 0) + 1
        if lease.reservation is not None:
            self._later(self._state.settle(lease, "good" if lease.answers else "used", lease.reservation))

    async def _failed(self, lease: Lease, error: GatewayError) -> None:
        """Judge the account, before anyone tries again."""
        failure = None if lease.answers else failure_class_of(error, datetime.now(UTC))
        if self._is_plain and failure is not None and self._is_one_too_many(error):
            # It serves the others: no reason to close it to everybody.
            error.retry_after_s = FULL_RETRY_S
            self._ended(lease)
            return
        if failure is None:
            if lease.answers or not used_nothing(error):
                self._ended(lease)
            elif lease.reservation is not None:
                await self._state.settle(lease, "unused", lease.reservation)
            return
        account, model = lease.account, lease.model
        self._unhealthy[account.id] = time.monotonic() + UNHEALTHY_S
        # Reported along: the breaker weighs failures against what went well, and this second's is not in Redis yet.
        good, accounts = self._good.pop((account.id, model), 0), self._accounts
        noted = await self._state.fail(failure, lease, error, accounts, good=good)
        if noted is None:
            return
        closed_ms, open_ones = noted
        error.retry_here = any(accounts[position] is not account for position in open_ones)
        error.retry_after_s = retry_after_s(error, closed_ms, time.time())

    def _is_one_too_many(self, error: GatewayError) -> bool:
        """Fit the slots to what the upstream takes; return whether that is all that its rejection asks for."""
        if not self.may_ask_again(error):
            return False
        return self.slots.rejected(error.retry_after_s)

    def _unhealthy_until(self, account: Account) -> float:
        """Return until when an account that failed here comes last while Redis is away; 0 for one that did not."""
        until = self._unhealthy.get(account.id, 0.0)
        return until if until > time.monotonic() else 0.0

    def _later(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _wait_s(found: NoAccount, *, is_last: bool) -> float | None:
    """Return for how long it is worth waiting, in seconds; None where that is of no use."""
    if not is_last or found.why == "rejected":
        return None
    return (found.quota_wait_ms or found.wait_ms) / 1000
