"""One authenticated request to a /v1 endpoint: what the usage log will say of it, refused or not."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec
from quart import request

from api.admission.admit import QueueUnavailable
from api.admission.thoughts import earlier_thoughts
from api.admission.token_limit import tokens_to_reserve
from api.http.headers import MAX_WAIT_HEADER, PRIORITY_HEADER, TIER_HEADER, route_headers
from api.http.intake import INTAKE
from api.requests.lifecycle import InflightRequest
from api.requests.limit_headers import admitted_headers, refused_headers
from api.routing.eligibility import RoutingRequest
from api.server.scope import ABORT
from shared.errors import Cancelled, GatewayError, InvalidRequest, ModelNotAllowed, RateLimited
from shared.ids import job_id
from shared.models.catalogue import nano_usd
from shared.openai.prompt_size import MostPrompt, most_added
from shared.openai.request import requested_model
from shared.queue.placement import NO_BUDGET_LIMITS, PRIORITIES, BudgetLimits, PlacementOptions
from shared.types import Endpoint, JobDraft
from shared.usage import UsageRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from api.accounting.usage_log import UsageLogWriter
    from api.admission.auth import Principal
    from api.http.intake import Intake
    from api.requests.checked_body import CheckedBody
    from api.requests.services import RequestServices
    from api.routing.key_bounds import KeyBounds
    from shared.types import AddedText, Target


MOST_WAIT_S: Final = 86_400
"""The longest patience that a client can name: a day."""


class RequestContext:
    """A request until its admission. Its `body`, once read, names the model that a wrong request asked for.

    Args:
        usage_log: where its row goes if it is not admitted.
        principal: who calls.
        endpoint: what is called, as the usage log names it.
        request_id: hex digits.
        model: the one asked for, where it is known already.
    """

    def __init__(
        self, usage_log: UsageLogWriter, principal: Principal, endpoint: str, request_id: str, model: str = ""
    ) -> None:
        self._usage_log = usage_log
        self._principal = principal
        self._inflight: InflightRequest | None = None
        self._rate_limit: dict[str, str] = {}
        self._omitted: Callable[[Target], Sequence[str]] = lambda _: ()
        self._intake: Intake | None = None
        self.body = b""
        self._record = UsageRecord(
            request_id=request_id,
            key_id=principal.key_id,
            endpoint=endpoint,
            requested_model=model,
            admitted_ms=int(time.time() * 1000),
        )

    @property
    def bounds(self) -> KeyBounds:
        """Return what its key may use."""
        return self._principal.bounds

    def response_headers(self) -> dict[str, str]:
        """Return the headers of the response, as far as they are known now: the key's limit, and who served it."""
        served_by = None if self._inflight is None else self._inflight.served_by
        if served_by is None:
            return self._rate_limit
        return self._rate_limit | route_headers(*served_by, self._omitted(served_by[0]))

    async def begin(self, services: RequestServices, endpoint: Endpoint, checked: CheckedBody) -> InflightRequest:
        """Route a checked request, admit it and enqueue it.

        Args:
            services: what it uses.
            endpoint: what is asked for.
            checked: what its body says.

        Raises:
            GatewayError: it was refused; nothing was consumed.
        """
        services.check_open()
        settings, parameters = services.settings, checked.parameters
        self._record.requested_model = checked.model
        self._record.stream = checked.stream
        limits = self._limits(settings.monthly_budget_usd)
        options = PlacementOptions(
            limits=limits,
            priority=self._priority(),
            most_waiting=settings.max_waiting_jobs,
            most_waiting_bytes=settings.max_waiting_bytes,
        )
        added = await self._added(services) if parameters is not None else ()
        wanted = RoutingRequest(
            model=checked.model,
            endpoint=endpoint,
            prompt_tokens=checked.prompt_tokens + sum(each.tokens for each in added),
            most_prompt=await self._most_prompt(services, checked, added) if limits.is_limited else MostPrompt(0),
            output_tokens=checked.output_tokens,
            choices=checked.choices,
            needs=checked.needs,
            effort=parameters.reasoning_effort if parameters else None,
            service_tier=checked.service_tier,
            limits=limits,
            bounds=self._principal.bounds.within(request.headers.get(TIER_HEADER)),
        )
        max_wait_s = self._max_wait_s()
        candidates = services.route(wanted)
        if parameters is not None:
            self._omitted = partial(services.router.omitted, parameters)
        token_limit, admitted_ms = self._principal.tokens_per_minute, self._record.admitted_ms
        if token_limit:
            self._record.reserved_tokens = tokens_to_reserve(token_limit, wanted)
            self._record.tokens_per_minute = token_limit
        draft = JobDraft(
            request_id=self._record.request_id,
            attempt=1,
            api_id=services.api_id,
            endpoint=endpoint,
            requested_model=checked.model,
            stream=checked.stream,
            key_id=self._principal.key_id,
            admitted_ms=admitted_ms,
            # As long as it may wait and run: a job that everybody lost goes away by itself after that.
            expires_ms=admitted_ms + int((settings.queue_timeout_s + settings.total_timeout_s) * 1000),
            patient_until_ms=0
            if max_wait_s is None
            else admitted_ms + int(min(max_wait_s, settings.queue_timeout_s) * 1000),
            tokens_per_minute=token_limit,
            reserved_tokens=self._record.reserved_tokens,
            added=added,
            body=msgspec.Raw(self.body),
        )
        abort = request.scope[ABORT]  # type: ignore[typeddict-item]
        self._intake = request.scope.get(INTAKE)  # type: ignore[assignment]
        # From now on the draft alone has it, until the request lets go of it.
        self.body = b""
        self._inflight = inflight = InflightRequest(
            services,
            draft,
            prompt_tokens=wanted.prompt_tokens,
            candidates=candidates,
            options=options,
            abort=abort,
            release=self._release_body,
        )
        admitted = await inflight.begin(self._principal)
        self._rate_limit = admitted_headers(self._principal, admitted)
        return inflight

    async def _most_prompt(
        self, services: RequestServices, checked: CheckedBody, added: Sequence[AddedText]
    ) -> MostPrompt:
        most = checked.most_prompt._replace(tokens=checked.most_prompt.tokens + most_added(added))
        if not services.router.has("anthropic"):
            return most
        return most._replace(thoughts=await earlier_thoughts(services.redis, checked.call_ids))

    async def _added(self, services: RequestServices) -> tuple[AddedText, ...]:
        return await services.additions.of(request.scope["headers"], self._principal, self._record)

    def _release_body(self) -> None:
        """Make room for the bodies of others: nothing more is done with this one."""
        if self._intake is not None:
            self._intake.close()

    def _limits(self, all_usd: float | None) -> BudgetLimits:
        budgets_usd = (all_usd, self._principal.monthly_budget_usd)
        if budgets_usd == (None, None):
            return NO_BUDGET_LIMITS
        return BudgetLimits(*(None if usd is None else nano_usd(usd) for usd in budgets_usd))

    def _priority(self) -> str:
        """Return the priority that the request asks for.

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

    def _max_wait_s(self) -> float | None:
        """Return for how many seconds the client is willing to wait for a turn; None where it does not say.

        Raises:
            InvalidRequest: that is no number of seconds.
        """
        text = request.headers.get(MAX_WAIT_HEADER)
        if text is None:
            return None
        try:
            max_wait_s = float(text)
        except ValueError:
            max_wait_s = -1.0
        if not 0 <= max_wait_s <= MOST_WAIT_S:
            raise InvalidRequest(
                f"{MAX_WAIT_HEADER} must be a number of seconds from 0 to {MOST_WAIT_S}.",
                param=MAX_WAIT_HEADER,
                code="invalid_value",
            )
        return max_wait_s

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """Log the request when it fails before it is admitted."""
        try:
            yield
        except GatewayError as error:
            if not self._record.requested_model:
                # Looked for in the raw bytes: what is not valid as a whole may still say which model was meant.
                self._record.requested_model = requested_model(self.body)
            self.refuse(error)
            raise
        except asyncio.CancelledError:
            self.refuse(Cancelled("The client has left."))
            raise

    def refuse(self, error: GatewayError) -> None:
        """Log a request that did not get as far as its admission."""
        if isinstance(error, RateLimited):
            self._rate_limit = refused_headers(self._principal, error)
        record = msgspec.structs.replace(self._record, status=error.status, error_code=error.code)
        if isinstance(error, QueueUnavailable):
            # Whether it was admitted is not known: where it was, its job must not run for nobody.
            name = job_id(record.request_id, 1)
            self._usage_log.refuse_in_doubt(self._timed(record), name)
        else:
            self._usage_log.add(self._timed(record), self._principal.rpm_limit)

    def check_refusals(self) -> None:
        """Refuse the request at once where its key was refused too often in this minute.

        Raises:
            RateLimited: it was; the request is logged.
        """
        if self._usage_log.is_refused_too_often(self._principal.key_id, self._principal.rpm_limit):
            error = RateLimited(
                "Too many requests of this key were refused in this minute. Mend what they ask for, then try again.",
                code="too_many_refusals",
                # Refusals are counted by the minute of the clock.
                retry_after_s=60 - time.time() % 60,
            )
            self.refuse(error)
            raise error

    def answered(self) -> None:
        """Log a request that was answered without a model."""
        self._usage_log.add(self._timed(self._record), self._principal.rpm_limit)

    def _timed(self, record: UsageRecord) -> UsageRecord:
        duration_ms = max(0, int(time.time() * 1000) - record.admitted_ms)
        return msgspec.structs.replace(record, duration_ms=duration_ms)
