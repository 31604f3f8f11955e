"""One attempt: call the provider, encode what it says, relay it, and settle.

The attempt is committed at the first content. Before that its failure may be tried elsewhere, so the
request stays open and the api decides; after it the request is closed here, whatever happens.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from shared.errors import (
    Cancelled,
    ContextTooLong,
    Draining,
    GatewayError,
    InternalFault,
    Malformed,
    ParameterUnsupported,
    Superseded,
    UpstreamError,
)
from shared.models.rejected_parameters import adapted
from shared.process.tasks import work_beside
from shared.queue.story import is_taken_over
from shared.relay import Kind
from shared.types import Delta, Event, Job, Started, Usage
from workers.attempts.bounds import SLACK, Bounds, extend
from workers.attempts.choices import answer, calls_for
from workers.attempts.embedding import embed
from workers.attempts.failure_log import log_failure
from workers.attempts.form import form_of
from workers.attempts.job_request import JobRequest, context_of, within_context
from workers.attempts.record import closing_of, now_ms, record_of, times_of
from workers.attempts.session_answer import KeptAnswer, turn_of
from workers.attempts.token_count import TokenCount
from workers.providers.http.upstream import large_body
from workers.providers.images.caller import caller

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from shared.dialects.base import Encoder, Fold
    from shared.settings import Settings
    from workers.accounts.account import Lease
    from workers.backends.backend import Backend
    from workers.relay.background import AttemptStream

_log = logging.getLogger(__name__)
_encode = msgspec.json.encode


class Attempt:
    """One attempt, from the claimed job to its last frame.

    Args:
        job: what to do.
        backend: does it; the job was claimed in its queue.
        stream: where its frames go.
        settings: the bounds on waiting.
        kept: the answer as it is kept, where the request has a session, or is stored, or is traced.

    Attributes:
        request: what the job asks; `count` is what has been used so far.
        started_ms: when its upstream was asked, its claim until then; `first_ms`, when the first content came.
    """

    def __init__(
        self, job: Job, backend: Backend, stream: AttemptStream, settings: Settings, kept: KeptAnswer | None = None
    ) -> None:
        self.job = job = within_context(job, backend, settings.catalogue)
        self._kept = kept
        self._queue, self._provider = backend.queue, backend.provider.name
        self._accounts, self._unsupported = backend.accounts, backend.unsupported
        self._stream = stream
        self._settings = settings
        self.request = JobRequest(job, partial(context_of, job, backend, settings.catalogue))
        self._bounds = Bounds(job, self.request.chat, settings)
        self._task: asyncio.Task[None] | None = None
        self._has_account = self.has_failed = False
        self._cancelled: Cancelled | None = None
        self.started_ms = now_ms()
        self.first_ms: int | None = None
        self.count = TokenCount(job, self.request)
        self._fold: Fold | None = None
        self._encoder: Encoder | None = None

    @property
    def served_ms(self) -> int | None:
        """Return how long the upstream was busy with it so far, None while it has said nothing."""
        return None if self.first_ms is None else now_ms() - self.started_ms

    def cancel(self, reason: Cancelled) -> None:
        """Stop and close the upstream connection; `reason` goes into the usage log."""
        if self._cancelled is not None:  # a second one would only cut short what the first began
            return
        self._cancelled = reason
        if self._task is not None:
            self._task.cancel()

    async def run(self) -> None:
        """Run to the end and report it. Raises nothing but CancelledError, when the process shuts down."""
        self._task = asyncio.current_task()
        caller.set(self.job.key_id or "")
        try:
            self._send_start()
            if self._cancelled is not None:
                raise self._cancelled
            await self.request.read()
            await self._serve()
        except asyncio.CancelledError:
            if self._cancelled is not None:
                await self._settle(self._cancelled)
                return
            await self._settle(Draining("The worker is shutting down.", retry_after_s=1))
            raise
        except GatewayError as error:
            await self._settle(error)
        except Exception:  # noqa: BLE001 -- a defect of ours must still end the client's wait
            _log.exception("request %s: the attempt failed", self.job.request_id)
            await self._settle(InternalFault("The gateway failed on this request."))
        else:
            await self._settle(None)

    async def _serve(self) -> None:
        """Serve, and where nothing else can, wait in line for an upstream that takes no more now.

        That is no second try of what failed, which is the api's to decide: nobody has begun to answer.
        """
        loop = asyncio.get_running_loop()
        due = loop.time() + self._bounds.patience_s()
        while True:
            self._has_account, self.count = False, TokenCount(self.job, self.request, self._calls())
            try:
                await (self._embed(due) if self.job.endpoint == "embeddings" else self._relay(due))
            except ParameterUnsupported as rejection:
                judged = self._unsupported.judged(rejection, self.request.chat, self.job.model, self.job.key_id or "")
                raise await judged from None
            except ContextTooLong:
                if self.first_ms is not None or not await self.request.shorten():
                    raise
                self.job = self.request.job
            except UpstreamError as rejection:
                may_wait = self.job.is_last and self._has_account and self.first_ms is None and loop.time() < due
                if not (may_wait and self._accounts.may_ask_again(rejection)):
                    raise
                self._send_start()  # nothing is billed for what was rejected
            else:
                return

    def _send_start(self, billed: Usage | None = None) -> None:
        started = Started(self.job.tier, self._queue, self.job.model, billed, is_taken_over(self.job.story))
        self._stream.push(Kind.START, _encode(started), urgent=True)

    def _send_billed(self) -> None:
        if (billed := self.count.news()) is not None:
            self._send_start(billed)

    def _calls(self) -> int:
        is_chat = self.job.endpoint != "embeddings"
        return calls_for(self._provider, self.request.chat.body, self._cannot()) if is_chat else 1

    def _cannot(self) -> tuple[str, ...]:
        known = self._settings.catalogue.entry(self.job.model).lacks_for(self.request.chat.body)
        return (*known, *self._unsupported.rejected(self.job.model))

    @asynccontextmanager
    async def _lease(self, due: float) -> AsyncIterator[Lease]:
        """Yield a lease of an account; a slot and a spent quota may be waited for until `due`, by the loop's clock."""
        job, count = self.job, self.count
        async with self._accounts.lease(
            job.model, count.expected_tokens, requests=count.calls, is_last=job.is_last, due=due
        ) as lease:
            self._has_account = True
            self.started_ms = now_ms()
            yield lease
            lease.used(self.count.report)

    async def _embed(self, due: float) -> None:
        request, model, catalogue = self.request.embeddings, self.job.model, self._settings.catalogue
        async with self._lease(due) as lease:
            self.count.is_sent = True
            self._send_billed()
            large_body.set(partial(self._stream.push, Kind.BODY, urgent=True))
            try:
                async with asyncio.timeout(self._settings.first_token_timeout_s):
                    body, reported = await embed(lease.provider, request, model, catalogue.embedding(model))
            except TimeoutError:
                raise self._bounds.exceeded(has_begun=self.first_ms is not None) from None
            self.first_ms = now_ms()
            if reported is not None:
                self.count.take(reported, is_whole=True)
            lease.began()
        self._stream.push(Kind.CONTENT, urgent=True)
        await self._stream.push_body(body, 0, self._settings.total_timeout_s)

    async def _relay(self, due: float) -> None:
        self._encoder, self._fold = form_of(self.job, self.request.chat, self._kept)
        loop = asyncio.get_running_loop()
        end = loop.time() + self._settings.total_timeout_s
        silence_s = self._settings.between_tokens_timeout_s
        async with self._lease(min(end, due)) as lease:
            self.count.is_sent = True
            self._send_billed()
            try:
                async with asyncio.timeout_at(min(end, loop.time() + self._bounds.first_token_s())) as bound:
                    rejected = self._unsupported.rejected(self.job.model)
                    adapt = partial(adapted, self.request.chat, lease.provider.name, rejected)
                    request = await work_beside(len(self.job.body), adapt) if rejected else self.request.chat
                    async with answer(lease.provider, request, self.job.model, self._cannot()) as batches:
                        async for batch in batches:
                            may_wait = self._take(batch)
                            self._send_billed()
                            if self.first_ms is not None:
                                lease.began()
                                extend(bound, min(end, loop.time() + silence_s), silence_s * SLACK)
                            await self._stream.room()
                            if may_wait:
                                await self._stream.pace()
            except TimeoutError:
                raise self._bounds.exceeded(has_begun=self.first_ms is not None) from None
            if self.first_ms is None:
                raise Malformed("The model server sent an empty answer.")
        await self._finish()

    def _take(self, batch: Sequence[Event]) -> bool:
        """Relay a batch; return whether the next may be read a moment later: not after the first or near the end."""
        out: list[bytes] = []
        tokens = 0
        has_content = ends = False
        for event in batch:
            if isinstance(event, Usage):
                self.count.take(event)
                continue
            has_content = True
            if isinstance(event, Delta):
                tokens += 1
            else:
                ends = self.count.has_ended = True
            if self._encoder is not None:
                out.append(self._encoder.encode(event))
            elif self._fold is not None:
                self._fold.add(event)
            if self._kept is not None:
                self._kept.add(event)
        tokens = self.count.add(batch, tokens)
        is_first = has_content and self.first_ms is None
        if is_first:
            self.first_ms = now_ms()
        if out or is_first:
            self._stream.push(Kind.CONTENT, b"".join(out), tokens, urgent=is_first)
        return has_content and not is_first and not ends

    async def _finish(self) -> None:
        await self.count.settle()
        usage = self.count.counted().usage
        if self._encoder is not None:
            self._stream.push(Kind.CONTENT, self._encoder.end(usage))
        elif self._fold is not None:
            body, timeout_s = self._fold.finished(usage), self._settings.total_timeout_s
            await self._stream.push_body([body], self.count.pieces, timeout_s)

    async def _settle(self, error: GatewayError | None) -> None:
        """Send the last frame and close the request, whatever becomes of it: without that its client would wait."""
        try:
            await self.count.settle()
            await self._report(error)
        except Exception:  # noqa: BLE001 -- a defect of ours must still end the client's wait
            _log.exception("request %s: how it ended cannot be reported", self.job.request_id)
            fault = InternalFault("The gateway failed on this request.").to_info()
            self._stream.push(Kind.ERROR, _encode(fault), urgent=True)
            self._stream.end(None)

    async def _report(self, error: GatewayError | None) -> None:
        committed, record = self.first_ms is not None, None
        turn = await turn_of(self._kept, self.job, error)
        self.has_failed = isinstance(error, UpstreamError) and not committed
        if error is None:
            self._stream.push(Kind.END, _encode(self.count.counted().usage), urgent=True)
        else:
            log_failure(self.job, self._queue, error, has_account=self._has_account)
            self.request.name_params(error)
            error.cost_usd = 0.0 if self._closes(error) else self.count.lost_usd(error, self._settings.catalogue)
            self._stream.push(Kind.ERROR, _encode(error.to_info()), urgent=True)
        if isinstance(error, Superseded):
            self._stream.end(None)  # job, mark and record are those of the one that goes on
            return
        if self._closes(error):
            times = times_of(self.job, self.started_ms, self.first_ms)
            counted = self.count.billed(has_content=committed)
            record = record_of(self.job, counted, error, times, self._settings.catalogue)
        self._stream.end(closing_of(self.job, self._queue, record, turn))

    def _closes(self, error: GatewayError | None) -> bool:
        return error is None or self.first_ms is not None or isinstance(error, Cancelled)
