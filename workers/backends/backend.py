"""A backend: one upstream that this worker process serves, with its queue, its slots and its models."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from shared.dialects.table import DIALECTS
from shared.errors import GatewayError
from shared.process.last_minute import CountOfLastMinute
from shared.process.tasks import Follower
from shared.redis.names import queue_name
from shared.types import BackendInfo, LocalModel, Tier

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workers.accounts.pool import Accounts
    from workers.backends.unsupported import UnsupportedParameters

_log = logging.getLogger(__name__)
NEWEST_WEIGHT: Final = 0.1
"""Of the last attempt in the mean of how long attempts take."""
HELP_PAUSE_S: Final = 5.0
"""For how long a backend takes nothing over after an attempt has failed there."""


class ModelSource(Protocol):
    """A source of an upstream's models: a provider, or several accounts of one."""

    name: str
    parallel: int | None

    async def models(self) -> Sequence[LocalModel]:
        """Return the models that the upstream has now.

        Raises:
            UpstreamError: it cannot be asked.
        """
        ...


class AccountSource(Protocol):
    """A source of accounts: sees to it that a backend has those that it should have."""

    async def follow(self, on_change: Callable[[], None]) -> None:
        """Follow changes of the accounts for good; `on_change` is called when they have changed."""
        ...


class Backend:
    """One upstream of this process.

    Args:
        tier: whose jobs it takes.
        provider: whom to ask for the upstream's models.
        name: tells the upstream from others of the tier; workers that share it share a queue.
        slots: how many attempts may run at once.
        accounts: what attempts are made with.
        unsupported: what its models have rejected.
        account_source: changes the accounts while the backend runs.
    """

    def __init__(
        self,
        tier: Tier,
        provider: ModelSource,
        name: str,
        slots: int,
        *,
        accounts: Accounts,
        unsupported: UnsupportedParameters,
        account_source: AccountSource | None = None,
    ) -> None:
        self.tier = tier
        self.provider = provider
        self.queue = queue_name(tier, name)
        accounts.slots.configure(slots)
        self.accounts = accounts
        self.unsupported = unsupported
        self._account_source = account_source
        self.models: tuple[LocalModel, ...] = ()
        self._reachable: bool | None = None
        self._service_ms = 0.0
        self._answer_ms = 0.0
        self._answer_tokens = 0.0
        self._failed_at = float("-inf")
        self.failures = 0
        self._ended = CountOfLastMinute()
        self._discovery: Follower | None = None

    @property
    def is_offered(self) -> bool:
        """Return whether it can serve anything: it has an account."""
        return bool(self.accounts.all)

    @property
    def slots(self) -> int:
        """Return how many attempts its upstream takes at once, as far as is known; at most what is configured."""
        return self.accounts.slots.count

    def claimable(self) -> int:
        """Return how many jobs this process may have claimed at once."""
        return self.accounts.claimable

    def took(self, served_ms: int | None, tokens: int) -> None:
        """Record the time and the tokens of an attempt that ended; None when its upstream sent nothing."""
        self._ended.add()
        if served_ms is None:
            return
        self._service_ms = _mean(self._service_ms, served_ms)
        if tokens:
            # Embeddings have none, and say nothing of how fast answers are.
            self._answer_ms = _mean(self._answer_ms, served_ms)
            self._answer_tokens = _mean(self._answer_tokens, tokens)

    def failed(self) -> None:
        """Record that an attempt failed before its upstream sent anything."""
        self.failures += 1
        self._failed_at = time.monotonic()

    def may_help(self) -> bool:
        """Return whether it may take over jobs of other queues: one that fails fast would drain them all."""
        # A backend that fails at once always has a free slot, and would help with everything.
        is_well = time.monotonic() - self._failed_at >= HELP_PAUSE_S
        return is_well and bool(self.models) and not self.accounts.closed_ms()

    def info(self) -> BackendInfo:
        """Return what is announced of this backend."""
        # Two digits, so that the announcement does not change with every attempt.
        service_ms = int(float(f"{self._service_ms:.2g}"))
        ms_per_token = float(f"{self._answer_ms / self._answer_tokens:.2g}") if self._answer_tokens else 0.0
        closed_ms = self.accounts.closed_ms()
        return BackendInfo(
            self.tier,
            self.provider.name,
            self.queue,
            self.slots,
            self.models,
            service_ms,
            closed_ms,
            ms_per_token,
            self.unsupported.until_ms(),
            self._ended.total(),
            tuple(DIALECTS),
        )

    async def discover(self) -> bool:
        """Ask the upstream for its models; return whether they changed."""
        if not self.is_offered:
            # Without an account there is nobody to ask, and nothing to serve them with.
            changed, self.models = bool(self.models), ()
            return changed
        try:
            models = self._keeping_ages(await self.provider.models())
        except GatewayError as error:
            models = ()
            self._report(reachable=False, detail=error.message)
        else:
            self.accounts.slots.cap(self.provider.parallel)
            self._report(reachable=True, detail=", ".join(model.id for model in models) or "no models")
        changed = models != self.models
        self.models = models
        return changed

    def _keeping_ages(self, found: Sequence[LocalModel]) -> tuple[LocalModel, ...]:
        """Return the models found, each as old as when it was first seen: llama.cpp reports "created now" each time."""
        ages = {model.id: model.created for model in self.models}
        return tuple(
            msgspec.structs.replace(model, created=ages.get(model.id, model.created or int(time.time())))
            for model in found
        )

    def look_soon(self) -> None:
        """Ask the upstream for its models soon, not only after the interval."""
        if self._discovery is not None:
            self._discovery.wake()

    async def follow(self, interval_s: float, on_change: Callable[[], None]) -> None:
        """Follow the upstream's models, asked for every `interval_s` seconds, and its accounts, for good."""

        def other_accounts() -> None:
            on_change()
            self.look_soon()

        async def rediscover() -> None:
            if await self.discover():
                on_change()

        self._discovery = Follower(rediscover, interval_s)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._discovery.run())
            group.create_task(self.accounts.follow(on_change))
            group.create_task(self.unsupported.follow(on_change))
            if self._account_source is not None:
                group.create_task(self._account_source.follow(other_accounts))

    async def close(self) -> None:
        await self.accounts.close()

    def _report(self, *, reachable: bool, detail: str) -> None:
        if reachable == self._reachable:
            return
        self._reachable = reachable
        if reachable:
            _log.info("%s: serving %s", self.queue, detail)
        else:
            _log.warning("%s: the model server does not answer: %s", self.queue, detail)


def _mean(mean: float, newest: float) -> float:
    return mean + NEWEST_WEIGHT * (newest - mean) if mean else float(newest)
