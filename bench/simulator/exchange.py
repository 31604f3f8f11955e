"""The gateway's own exchange, with simulated timers: where a request goes, when it moves on, what follows a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

import msgspec

from api.requests.lifecycle import Exchange
from shared.relay import Kind
from shared.types import UsageRecord

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import SimpleNamespace

    from api.gateway import Gateway
    from api.relay.incoming import Inbound
    from bench.simulator.load import Request
    from shared.errors import GatewayError
    from shared.queue.placement import Candidate, Placing
    from shared.types import JobDraft, Target


class Agenda(Protocol):
    """What happens when, in simulated time."""

    @property
    def now_ms(self) -> int:
        """Milliseconds since the day began."""

    def at(self, moment_ms: int, happens: Callable[[], Awaitable[None]]) -> None:
        """Have something happen at a moment of the day."""

    async def placed(self, target: Target, *, moved: bool = False) -> None:
        """A job was put into a queue."""

    async def look(self) -> None:
        """Know of the workers what an api process knows by now."""


class SimulatedExchange(Exchange):
    """An exchange whose timers go by the simulated time, and whose frames are method calls.

    Args:
        agenda: where its timers stand.
        gateway: as much of one as an exchange uses until it answers.
        draft: its first attempt.
        candidates: where it may go.
        placing: budgets and priority.
        request: what is served.
    """

    def __init__(
        self,
        agenda: Agenda,
        gateway: SimpleNamespace,
        draft: JobDraft,
        *,
        candidates: list[Candidate],
        placing: Placing,
        request: Request,
    ) -> None:
        self.request = request
        self.request_hex = draft.request_id
        self._agenda = agenda
        self._version = 0
        record = UsageRecord(
            request_id=draft.request_id,
            key_id=draft.key_id,
            endpoint=draft.endpoint,
            asked_model=draft.asked_model,
            admitted_ms=draft.admitted_ms,
        )
        super().__init__(cast("Gateway", gateway), draft, record, candidates=candidates, placing=placing, abort=_never)

    @property
    def inbound(self) -> Inbound:
        """Its present attempt."""
        return self._current()

    def started(self, target: Target) -> None:
        """A worker has claimed it."""
        self.inbound.worker = bytes(16)
        self.inbound.accept(Kind.START, 0, msgspec.json.encode(target))

    async def fail_over(self, error: GatewayError) -> Target:
        """The attempt failed; where the next one is.

        Raises:
            GatewayError: there is none.
        """
        self.inbound.fail(error)
        await self._fail_over(error)
        return self.inbound.target

    def finished(self) -> None:
        """It was answered."""
        self._finished()

    def record(self, cost_usd: float) -> UsageRecord:
        """What its worker says of it."""
        return msgspec.structs.replace(self._record, attempts=self._draft.attempt, cost_usd=cost_usd)

    def _placed(self, candidate: Candidate) -> None:
        self._version += 1
        super()._placed(candidate)

    def _look_again_in(self, wait_s: float) -> None:
        version = self._version

        async def look_again() -> None:
            if self._version != version or self._over:
                return
            inbound = self.inbound
            inbound.be_overdue()
            if inbound.overdue:
                await self._agenda.look()
                await self._overflow(inbound)
                if self._version != version:
                    await self._agenda.placed(inbound.target, moved=True)

        self._agenda.at(self._agenda.now_ms + round(wait_s * 1000), look_again)


class NoRelay:
    """A relay to which nothing is sent."""

    def expect(self, inbound: Inbound) -> None:
        """No frame will come."""

    def forget(self, inbound: Inbound) -> None:
        """None came."""


def _never() -> None:
    raise RuntimeError("no client of the simulator reads too slowly")
