"""Parts of an api process that requests use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from api.accounting.failure_record import ended
from api.admission.admit import QueueFaulty
from api.http.span_notes import note_lost
from api.requests.open_requests import with_take_over
from api.requests.queued_job import Moves
from shared.errors import Overloaded, UnknownModel
from shared.redis.client import state_of
from shared.usage import UsageRecord

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Coroutine

    from redis.asyncio import Redis

    from api.accounting.usage_log import UsageLogWriter
    from api.admission.auth import Principal
    from api.prompt.additions import Additions
    from api.prompt.sessions.sessions import Sessions
    from api.relay.incoming import IncomingStream
    from api.relay.receiver import RelayReceiver
    from api.requests.open_requests import OpenRequests
    from api.routing.eligibility import RoutingRequest
    from api.routing.router import Router
    from shared.errors import GatewayError
    from shared.queue.placement import Candidate
    from shared.settings import Settings
    from shared.types import JobDraft, Usage

FULL_RETRY_S: Final = 5.0


@dataclass(frozen=True)
class RequestServices:
    """Parts of an api process that requests use.

    Attributes:
        settings: bounds, and the prices of the catalogue.
        redis: connections that every part shares.
        api_id: this process, in hex digits.
        router: says where requests may go.
        relay: brings what workers send.
        usage_log: closes them in the usage log.
        additions: says what is put before their messages.
        sessions: says what their session puts there.
        open_requests: those that have not ended.
        renewed: looks up again who asks, whose key has this revision by now.
        spawn: does something beside them, and waits for it before the process ends.
        moves: counts what goes elsewhere.
    """

    settings: Settings
    redis: Redis
    api_id: str
    router: Router
    relay: RelayReceiver
    usage_log: UsageLogWriter
    additions: Additions
    sessions: Sessions
    open_requests: OpenRequests
    renewed: Callable[[Principal, int], Awaitable[Principal]]
    spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]
    moves: Moves = field(default_factory=Moves)

    def check_open(self) -> None:
        """Check that requests can be admitted at all.

        Raises:
            QueueFaulty: Redis refuses what it is asked.
            Overloaded: the usage log has no room.
        """
        if not self.relay.connected and (fault := state_of(self.redis).fault):
            # What was admitted all the same would wait for frames that cannot come.
            raise QueueFaulty(fault)
        if self.usage_log.is_full():
            raise Overloaded(
                "The usage log has no room: nobody records it. The operator's log and /ready say more.",
                code="usage_log_full",
                retry_after_s=FULL_RETRY_S,
            )

    def lost(self, draft: JobDraft, stream: IncomingStream) -> None:
        """Take an attempt back that nobody will run or end; its request may live on.

        Args:
            draft: the attempt.
            stream: what has come of it.
        """
        self.usage_log.drop(stream.job_id)
        note_lost(draft.attempt, stream.target, stream.started_at)

    def close(
        self, draft: JobDraft, stream: IncomingStream, error: GatewayError, delivered: Usage, began_at: float
    ) -> None:
        """Close a request in the usage log, unless its worker did.

        Args:
            draft: its last attempt.
            stream: what has come of that.
            error: how it ended.
            delivered: about how long the prompt is, and how many tokens of the answer were delivered.
            began_at: when the request came, by the monotonic clock.
        """
        opened, catalogue = UsageRecord.opened(with_take_over(draft, stream)), self.settings.catalogue
        record = ended(opened, draft.attempt, stream, error, delivered, began_at=began_at, catalogue=catalogue)
        self.usage_log.close(record, stream.job_id, has_session=bool(draft.session_id), stored=draft.stored)

    def route(self, wanted: RoutingRequest) -> list[Candidate]:
        """Return where a request may go, by rank.

        Raises:
            QueueFaulty: who could serve it may be a worker that Redis does not let answer.
            GatewayError: nothing may serve it, for another reason.
        """
        try:
            return self.router.route(wanted)
        except (Overloaded, UnknownModel):
            if self.router.redis_fault:
                raise QueueFaulty(self.router.redis_fault) from None
            raise
