"""One authenticated call of a /v1 endpoint: what the usage log will say of it, refused or not."""

from __future__ import annotations

import asyncio
import time
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import msgspec
from quart import g, request

from api.admission.admit import QueueUnavailable
from api.hypercorn_server import ABORT
from api.requests.lifecycle import Exchange
from api.routing.eligibility import Asked
from shared.errors import Cancelled, Draining, GatewayError, InvalidRequest, ModelNotAllowed, RateLimited
from shared.ids import job_id
from shared.models.abilities import needs_of
from shared.models.catalogue import nano_usd
from shared.openai.request import asked_model, most_prompt_tokens
from shared.queue.placement import NO_LIMIT, PRIORITIES, Placing, Purse
from shared.types import Endpoint, JobDraft, UsageRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from api.admission.auth import Principal
    from api.gateway import Gateway
    from shared.openai.request import ChatBody

PRIORITY_HEADER: Final = "x-nself-priority"


class Call:
    """A call from its authentication on. Its `body`, once read, tells the model that a wrong request asked for.

    Args:
        gateway: the parts of this process.
        principal: who calls.
        endpoint: what is called, as the usage log names it.
        request_id: 16 bytes.
        model: the one asked for, where it is known already.
    """

    def __init__(
        self, gateway: Gateway, principal: Principal, endpoint: str, request_id: bytes, model: str = ""
    ) -> None:
        self._gateway = gateway
        self._principal = principal
        self.body = b""
        self._record = UsageRecord(
            request_id=request_id.hex(),
            key_id=principal.key_id,
            endpoint=endpoint,
            asked_model=model,
            admitted_ms=int(time.time() * 1000),
        )

    async def begin(
        self, endpoint: Endpoint, model: str, raw: msgspec.Raw, *, prompt_tokens: int, body: ChatBody | None = None
    ) -> Exchange:
        """Route a checked request, admit it and enqueue it.

        Args:
            endpoint: what is asked for.
            model: by which model.
            raw: the client's own bytes.
            prompt_tokens: how long the prompt is, about.
            body: what they say, for chat.

        Raises:
            GatewayError: it was refused; nothing was consumed.
        """
        gateway, settings = self._gateway, self._gateway.settings
        if gateway.draining:
            raise Draining("This gateway process is shutting down.", retry_after_s=1)
        self._record.asked_model = model
        self._record.stream = stream = body is not None and bool(body.stream)
        purse = self._purse()
        placing = Placing(purse=purse, priority=self._priority(), most_waiting=settings.max_waiting_jobs)
        asked = Asked(
            model=model,
            endpoint=endpoint,
            prompt_tokens=prompt_tokens,
            reserved_tokens=most_prompt_tokens(len(self.body), body) if purse.is_limited else 0,
            output_tokens=body.output_limit if body else None,
            choices=body.n or 1 if body else 1,
            needs=needs_of(body) if body else {},
            purse=purse,
        )
        candidates = gateway.router.route(asked)
        admitted_ms = self._record.admitted_ms
        draft = JobDraft(
            request_id=self._record.request_id,
            attempt=1,
            api_id=gateway.api_id.hex(),
            endpoint=endpoint,
            asked_model=model,
            stream=stream,
            key_id=self._principal.key_id,
            admitted_ms=admitted_ms,
            expires_ms=admitted_ms + int((settings.queue_timeout_s + settings.total_timeout_s) * 1000),
            body=raw,
        )
        abort = request.scope[ABORT]  # type: ignore[typeddict-item]
        exchange = Exchange(gateway.requests, draft, candidates=candidates, placing=placing, abort=abort)
        # Weakly: a connection of a pool that is opened during a request keeps the request's context, and so its `g`.
        g.exchange = weakref.ref(exchange)
        admitted = await exchange.begin(self._principal)
        if self._principal.rpm_limit:
            g.rate_limit = (self._principal.rpm_limit, admitted.remaining, admitted.reset_s)
        return exchange

    def _purse(self) -> Purse:
        limits = (self._gateway.settings.monthly_budget_usd, self._principal.monthly_budget_usd)
        return (
            NO_LIMIT if limits == (None, None) else Purse(*(None if usd is None else nano_usd(usd) for usd in limits))
        )

    def _priority(self) -> str:
        """The priority that the request asks for.

        Raises:
            InvalidRequest: there is no such priority.
            ModelNotAllowed: the key is no admin's.
        """
        priority = request.headers.get(PRIORITY_HEADER)
        if priority is None:
            return "normal"
        if priority.lower() not in PRIORITIES:
            raise InvalidRequest(
                f"{PRIORITY_HEADER} must be one of {', '.join(PRIORITIES)}.",
                param=PRIORITY_HEADER,
                code="invalid_value",
            )
        if not self._principal.admin_allowed:
            raise ModelNotAllowed(
                f"Only a key with admin_allowed may set {PRIORITY_HEADER}.",
                param=PRIORITY_HEADER,
                code="priority_not_allowed",
            )
        return priority.lower()

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """Log the call when it fails before it is admitted."""
        try:
            yield
        except GatewayError as error:
            if not self._record.asked_model:
                self._record.asked_model = asked_model(self.body)
            self.refuse(error)
            raise
        except asyncio.CancelledError:
            self.refuse(Cancelled("The client has left."))
            raise

    def refuse(self, error: GatewayError) -> None:
        """Log a call that did not get as far as its admission."""
        if isinstance(error, RateLimited):
            g.rate_limit = (self._principal.rpm_limit, 0, error.retry_after_s or 0.0)
        record = msgspec.structs.replace(self._record, status=error.status, error_code=error.code)
        if isinstance(error, QueueUnavailable):
            name = job_id(bytes.fromhex(record.request_id), 1)
            self._gateway.ledger.refuse_in_doubt(self._timed(record), name)
        else:
            self._gateway.ledger.add(self._timed(record))

    def answered(self) -> None:
        """Log a call that was answered without a model."""
        self._gateway.ledger.add(self._timed(self._record))

    def _timed(self, record: UsageRecord) -> UsageRecord:
        duration_ms = max(0, int(time.time() * 1000) - record.admitted_ms)
        return msgspec.structs.replace(record, duration_ms=duration_ms)
