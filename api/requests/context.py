"""One authenticated request to a /v1 endpoint: what the usage log will say of it, refused or not."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import msgspec
from quart import request

from api.accounting.refusals import too_many_refusals
from api.admission.admit import KeyChanged, QueueUnavailable
from api.admission.read_limiter import ReadTurn
from api.admission.token_limit import tokens_to_reserve
from api.http.errors import from_exception
from api.http.headers import TIER_HEADER, route_headers
from api.http.intake import INTAKE, Intake
from api.http.span_notes import note_context, note_failure
from api.prompt.headers import NO_PROMPT_HEADERS, SESSION_HEADER, read_headers
from api.requests.background.request import Unattended
from api.requests.lifecycle import InflightRequest
from api.requests.limit_headers import admitted_headers, refused_headers
from api.requests.queue_headers import max_wait_s_of, patient_until_ms, priority_of
from api.requests.session_route import most_prompt_of, routed, session_request, with_knowledge
from api.routing.eligibility import RoutingRequest
from api.routing.task_classes import task_class_of
from api.server.scope import ABORT
from shared.errors import Cancelled, GatewayError, RateLimited
from shared.ids import job_id
from shared.openai.prompt_size import MostPrompt
from shared.openai.requested_model import requested_model
from shared.process.tracing.context import TRACE
from shared.queue.placement import PlacementOptions
from shared.redis.names import BACKGROUND_API, owner_of
from shared.types import AddedText, Endpoint, JobDraft, Target
from shared.usage import UsageRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from api.accounting.usage_log import UsageLogWriter
    from api.admission.auth import Principal
    from api.prompt.headers import PromptHeaders
    from api.prompt.responses.preparation import PreparedBody
    from api.prompt.sessions.leases import Leases
    from api.prompt.sessions.sessions import OpenSession
    from api.requests.checked_body import CheckedBody
    from api.requests.services import RequestServices


class RequestContext:
    """A request until its admission. Its `body`, once read, names the model that a wrong request asked for.

    With `is_anew` it asks the last question of its session again, in place of the answer before.
    What was `prepared` of that, where stored responses are part of it, `undo` gives back should it be refused.

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
        self.principal = principal
        self.inflight: InflightRequest | None = None
        self._rate_limit: dict[str, str] = {}
        self._added_headers: dict[str, str] = {}
        self._omitted: Callable[[Target], Sequence[str]] = lambda _: ()
        self._intake: Intake | None = None
        self._leases: Leases | None = None
        self.session_id = self._open_under = ""
        self.body = b""
        self.is_anew = False
        self.prepared: PreparedBody | None = None
        self.undo: Callable[[], object] = bool
        self.turn = ReadTurn()
        self.record = UsageRecord(
            request_id=request_id,
            key_id=principal.key_id,
            endpoint=endpoint,
            requested_model=model,
            admitted_ms=int(time.time() * 1000),
            purpose=principal.purpose,
        )
        note_context(self)

    @property
    def key_id(self) -> str | None:
        """Return the id of its key; None for the internal token."""
        return self.principal.key_id

    def response_headers(self) -> dict[str, str]:
        """Return the headers of the response, as far as they are known now: the key's limit, and who served it."""
        known, inflight = self._rate_limit | self._added_headers, self.inflight
        served_by = None if inflight is None else inflight.served_by
        if served_by is None:
            return known
        left_out = ("store",) if self.prepared is not None and self.prepared.is_left_out else ()
        return known | route_headers(*served_by, (*self._omitted(served_by[0]), *left_out))

    async def begin(
        self, services: RequestServices, endpoint: Endpoint, checked: CheckedBody
    ) -> InflightRequest | Unattended:
        """Route a checked request, admit it and enqueue it.

        Args:
            services: what it uses.
            endpoint: what is asked for.
            checked: what its body says.

        Raises:
            GatewayError: it was refused; nothing was consumed.
        """
        body = self.body  # `_begin` gives it away
        try:
            return await self._begin(services, endpoint, checked)
        except KeyChanged as error:
            self._give_back_session()  # the second try opens it anew
            self.principal, self.body = await services.renewed(self.principal, error.revision), body
            return await self._begin(services, endpoint, checked)

    async def _begin(
        self, services: RequestServices, endpoint: Endpoint, checked: CheckedBody
    ) -> InflightRequest | Unattended:
        services.check_open()
        settings, parameters = services.settings, checked.parameters
        self.record.requested_model, self.record.stream = checked.model, checked.stream
        limits, max_wait_s = self.principal.budget_limits(settings.monthly_budget_usd), max_wait_s_of(request.headers)
        options = PlacementOptions(
            limits=limits,
            priority=priority_of(request.headers, is_admin=self.principal.admin_allowed),
            most_waiting=settings.max_waiting_jobs,
            most_waiting_bytes=settings.max_waiting_bytes,
        )
        # Nothing is put before what is to be embedded.
        headers = read_headers(request.scope["headers"]) if parameters is not None else NO_PROMPT_HEADERS
        # What reads it beside the model reads a chat.
        chat = await checked.as_chat(self.body) if headers.session_id or headers.knowledge else b""
        added = await services.additions.of(headers, self.principal, self.record) if parameters is not None else ()
        session = await self._open_session(services, headers, chat, max_wait_s) if headers.session_id else None
        added += await self._snapshot_for(session, services) if session is not None and not headers.admin else ()
        wanted = RoutingRequest(
            model=checked.model,
            endpoint=endpoint,
            prompt_tokens=checked.prompt_tokens + sum(each.tokens for each in added),
            most_prompt=await most_prompt_of(services, checked, added, session) if limits.is_limited else MostPrompt(0),
            output_tokens=checked.output_tokens,
            choices=checked.choices,
            needs=checked.needs,
            effort=parameters.reasoning_effort if parameters else None,
            has_tools=bool(parameters and parameters.has_tools),
            **checked.for_routing,
            limits=limits,
            bounds=self.principal.bounds.within(request.headers.get(TIER_HEADER)),
            task_class=task_class_of(request.headers, endpoint),
        )
        if headers.knowledge:
            known, wanted, self._added_headers = await with_knowledge(services, wanted, session, chat, self.key_id)
            added += known
        candidates, wanted, history = routed(services, wanted, session)
        if parameters is not None:
            self._omitted = partial(services.router.omitted, parameters)
        token_limit, admitted_ms = self.principal.tokens_per_minute, self.record.admitted_ms
        self.record.tokens_per_minute = token_limit
        self.record.reserved_tokens = tokens_to_reserve(token_limit, wanted) if token_limit else 0
        # Its wait for a turn begins at its admission, or once it has its session.
        draft = JobDraft(
            request_id=self.record.request_id,
            attempt=1,
            api_id=services.api_id,
            endpoint=endpoint,
            requested_model=checked.model,
            stream=checked.stream,
            key_id=self.principal.key_id,
            admitted_ms=admitted_ms,
            # As long as it may wait and run: a job that everybody lost goes away by itself after that.
            expires_ms=(admitted_ms if session is None else int(time.time() * 1000))
            + int((settings.queue_timeout_s + settings.total_timeout_s) * 1000),
            patient_until_ms=patient_until_ms(admitted_ms, max_wait_s, settings.queue_timeout_s),
            tokens_per_minute=token_limit,
            reserved_tokens=self.record.reserved_tokens,
            added=added,
            session_id="" if session is None else session.session_id,
            history=history,
            dialect=checked.dialect,
            purpose=self.principal.purpose,
            stored=checked.stored,
            trace=TRACE.get(),
            body=msgspec.Raw(self.body),
        )
        # From now on the draft alone has the body, until the request lets go of it.
        self._intake, self.body = request.scope.get(INTAKE), b""  # type: ignore[assignment]  # a key of ours
        if checked.stored is not None and checked.stored.is_background:
            return await self._left(Unattended(services, draft, wanted, candidates=candidates, options=options))
        self.inflight = inflight = InflightRequest(
            services,
            draft,
            prompt_tokens=wanted.prompt_tokens if history is None else wanted.prompt_tokens + history.tokens,
            candidates=candidates,
            options=options,
            abort=request.scope[ABORT],  # type: ignore[typeddict-item]  # a key of ours
            release=self._release_body,
        )
        self._rate_limit = admitted_headers(self.principal, await inflight.begin(self.principal))
        if session is not None:
            self._keep_session(services, draft)
        return inflight

    async def _left(self, unattended: Unattended) -> Unattended:
        self._open_under = BACKGROUND_API  # nobody waits for it
        self._rate_limit = admitted_headers(self.principal, await unattended.begin(self.principal))
        self._release_body()
        return unattended

    async def _open_session(
        self, services: RequestServices, headers: PromptHeaders, chat: bytes, max_wait_s: float | None
    ) -> OpenSession:
        wanted = session_request(self.record, headers, chat, is_anew=self.is_anew)
        longest_s = services.settings.queue_timeout_s
        wait_s = longest_s if max_wait_s is None else min(max_wait_s, longest_s)
        session = await services.sessions.open(msgspec.structs.replace(wanted, wait_s=wait_s))
        self._leases, self.session_id = services.sessions.leases, session.session_id
        return session

    async def _snapshot_for(self, session: OpenSession, services: RequestServices) -> tuple[AddedText, ...]:
        """Return the snapshot, for a request that does not ask for it itself, where its session is in admin mode."""
        snapshot = services.additions.snapshot
        return (await snapshot(self.principal, self.record, session.session_id),) if session.is_admin_mode else ()

    def _keep_session(self, services: RequestServices, draft: JobDraft) -> None:
        services.sessions.leases.keep(owner_of(draft.key_id), draft.session_id, draft.request_id, draft.expires_ms)
        self._rate_limit = {**self._rate_limit, SESSION_HEADER: draft.session_id}

    def _release_body(self) -> None:
        """Make room for the bodies of others: nothing more is done with this one."""
        if self._intake is not None:
            self._intake.close()

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """Log the request when it fails before it is admitted; raise a fault of ours as what its caller is told."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 -- whatever it is, the request is in the log
            failure = from_exception(error)
            # Looked for in the raw bytes: what is not valid as a whole may still say which model was meant.
            self.record.requested_model = self.record.requested_model or requested_model(self.body)
            self.refuse(failure)
            raise failure from (None if failure is error else error)
        except asyncio.CancelledError:
            self.refuse(Cancelled("The client has left."))
            raise

    def refuse(self, error: GatewayError) -> None:
        """Log a request that did not get as far as its admission."""
        self.undo()
        note_failure(error)
        self._give_back_session()
        if isinstance(error, RateLimited):
            self._rate_limit = refused_headers(self.principal, error)
        record = msgspec.structs.replace(self.record, status=error.status, error_code=error.code)
        if isinstance(error, QueueUnavailable):
            # Whether it was admitted is not known: where it was, its job must not run for nobody.
            name = job_id(record.request_id, 1)
            self._usage_log.refuse_unconfirmed(self._timed(record), name, api_id=self._open_under)
        else:
            self._usage_log.add(self._timed(record), self.principal.rpm_limit)

    def _give_back_session(self) -> None:
        if self._leases is not None:
            self._leases.give_back(self.session_id, self.record.request_id)
            self._leases = None

    def check_refusals(self) -> None:
        """Refuse the request at once where its key was refused too often in this minute.

        Raises:
            RateLimited: it was; the request is logged.
        """
        if self._usage_log.is_refused_too_often(self.principal.key_id, self.principal.rpm_limit):
            error = too_many_refusals()
            self.refuse(error)
            raise error

    def answered(self) -> None:
        """Log a request that was answered without a model."""
        self._usage_log.add(self._timed(self.record), self.principal.rpm_limit)

    def _timed(self, record: UsageRecord) -> UsageRecord:
        return msgspec.structs.replace(record, duration_ms=max(0, int(time.time() * 1000) - record.admitted_ms))
