"""The spans of one attempt: its time in the queue, and the call of its upstream. Imported only where traces are wanted.

Names are those of OpenTelemetry's conventions for generative AI (0.1.0, 2026); what they have no name for is `nself.*`.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from opentelemetry.trace import SpanKind, Status, StatusCode

from shared.errors import Cancelled, GatewayError
from shared.process.tracing.context import TRACE
from shared.process.tracing.tracer import carried, headers_of
from shared.redis.names import backend_of, place_of_queue
from shared.types import Finish
from workers.attempts.record import now_ms
from workers.attempts.traced_content import AnswerContent, input_messages

if TYPE_CHECKING:
    from opentelemetry.trace import Span
    from opentelemetry.util.types import AttributeValue

    from shared.dialects.stored.pending import ResponseEnd
    from shared.models.catalogue import Catalogue
    from shared.openai.request import ChatBody
    from shared.openai.sessions.turn_end import TurnEnd
    from shared.process.tracing.tracer import Tracing
    from shared.types import Event, Job
    from workers.attempts.attempt import Attempt
    from workers.attempts.session_answer import KeptAnswer
    from workers.backends.backend import ModelSource

_PROVIDERS: Final = {"gemini": "gcp.gemini"}
"""Names of providers that the conventions have otherwise than we do."""
_ADDRESS: Final = re.compile(r"(?:embeddings:)?([^:/]+):(\d+)")
"""Beginnings of the names of backends that are known by their address."""
_FIELDS: Final = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "seed": "gen_ai.request.seed",
    "reasoning_effort": "gen_ai.request.reasoning.level",
}


class AttemptTracer:
    """Makes the spans of the attempts of this process.

    Args:
        tracing: makes spans.
        catalogue: the prices.
    """

    def __init__(self, tracing: Tracing, catalogue: Catalogue) -> None:
        self._tracing = tracing
        self._catalogue = catalogue

    def begin(self, job: Job, queue: str, provider: ModelSource, kept: KeptAnswer | None) -> AttemptSpan:
        """Return the span of an attempt that begins now.

        Args:
            job: what it does.
            queue: where it was claimed.
            provider: its upstream's.
            kept: what follows its answer anyway.
        """
        parent = headers_of(job.trace)
        own = _attributes_of(job, queue)
        if job.trace is not None and job.trace.queued_ms:
            queued_ms = job.trace.queued_ms
            waited = self._tracing.begin(f"queue {job.tier}", SpanKind.INTERNAL, parent, own, queued_ms)
            # The clock of the machine that put it there may be ahead of this one's.
            waited.end(max(queued_ms, now_ms()) * 1_000_000)
        operation = "chat" if job.endpoint == "chat" else "embeddings"
        attributes = own | {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": _PROVIDERS.get(provider.name, provider.name),
            "gen_ai.request.model": job.model,
        }
        span = self._tracing.begin(f"{operation} {job.model}", SpanKind.CLIENT, parent, attributes)
        if job.trace is None:
            TRACE.set(carried(span))
        content = AnswerContent() if self._tracing.captures_content and span.is_recording() else None
        return AttemptSpan(span, job, kept, self._catalogue, content)


class AttemptSpan:
    """The span of an attempt; it follows the answer beside whoever does so anyway.

    Args:
        span: that has begun.
        job: what the attempt does.
        kept: what else follows the answer.
        catalogue: the prices.
        content: takes the answer, where traces show it.
    """

    def __init__(
        self, span: Span, job: Job, kept: KeptAnswer | None, catalogue: Catalogue, content: AnswerContent | None
    ) -> None:
        self._span = span
        self._job = job
        self._kept = kept
        self._catalogue = catalogue
        self._content = content
        self._reasons: dict[int, str] = {}
        self._error: GatewayError | None = None

    def follow(self, reply: object) -> None:
        """Pass on what makes the client's bytes."""
        if self._kept is not None:
            self._kept.follow(reply)

    def add(self, event: Event) -> None:
        """Note why a choice ended, and what was answered where traces show that."""
        if isinstance(event, Finish):
            self._reasons[event.index] = event.reason
        if self._content is not None:
            self._content.add(event)
        if self._kept is not None:
            self._kept.add(event)

    def stop(self) -> None:
        """Pass on that the answer has ended."""
        if self._kept is not None:
            self._kept.stop()

    def end(self, error: GatewayError | None) -> TurnEnd | ResponseEnd | None:
        """Note how the attempt ended, and return what the closing of its request leaves."""
        self._error = error
        return None if self._kept is None else self._kept.end(error)

    def finish(self, attempt: Attempt) -> None:
        """End the span: the attempt is over."""
        if self._span.is_recording():
            self._span.set_attributes(self._used(attempt) | self._request_attributes(attempt))
            self._span.add_event("nself.upstream_asked", timestamp=attempt.started_ms * 1_000_000)
            if attempt.first_ms is not None:
                self._span.add_event("nself.first_token", timestamp=attempt.first_ms * 1_000_000)
            if (error := self._error) is not None:
                self._span.set_attribute("error.type", error.code or type(error).__name__)
                # Who leaves breaks nothing.
                if not isinstance(error, Cancelled):
                    self._span.set_status(Status(StatusCode.ERROR, error.code))
        self._span.end()

    def _used(self, attempt: Attempt) -> dict[str, AttributeValue]:
        """Return what the attempt has used, and how it went."""
        counted, first_ms = attempt.count.counted(), attempt.first_ms
        found: dict[str, AttributeValue] = {"nself.usage_source": counted.source}
        if self._job.stream and first_ms is not None:
            found["gen_ai.response.time_to_first_chunk"] = max(0, first_ms - attempt.started_ms) / 1000
        if first_ms is not None:
            found["gen_ai.response.model"] = self._job.model
            found["gen_ai.response.id"] = f"req_{self._job.request_id}"
        if self._reasons:
            found["gen_ai.response.finish_reasons"] = [self._reasons[index] for index in sorted(self._reasons)]
        usage = counted.usage
        counts = {
            "gen_ai.usage.input_tokens": usage.prompt_tokens,
            "gen_ai.usage.output_tokens": usage.completion_tokens,
            "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
            "gen_ai.usage.cache_write.input_tokens": usage.cache_write_tokens,
            "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
        }
        found |= {name: number for name, number in counts.items() if number}
        if self._job.tier == "paid" and attempt.count.is_sent:
            found["nself.cost_usd"] = self._catalogue.cost_usd(self._job.model, usage)
        return found

    def _request_attributes(self, attempt: Attempt) -> dict[str, AttributeValue]:
        """Return what the request asks for; nothing where it cannot be read."""
        found: dict[str, AttributeValue] = {}
        if self._job.endpoint != "chat":
            return found
        with suppress(GatewayError):
            body = attempt.request.chat.body
            found = _parameters_of(body)
            if self._content is not None:
                found["gen_ai.input.messages"] = input_messages(body.messages)
                found["gen_ai.output.messages"] = self._content.output_messages()
        return found


def _attributes_of(job: Job, queue: str) -> dict[str, AttributeValue]:
    """Return what is known of an attempt when it begins."""
    found: dict[str, AttributeValue] = {
        "nself.request_id": f"req_{job.request_id}",
        "nself.key_id": job.key_id or "internal",
        "nself.attempt": job.attempt,
        "nself.tier": job.tier,
        "nself.backend": place_of_queue(queue),
        "nself.requested_model": job.requested_model,
    }
    if job.stream:
        found["gen_ai.request.stream"] = True
    if job.session_id:
        found["gen_ai.conversation.id"] = job.session_id
    if job.purpose:
        found["nself.purpose"] = job.purpose
    if (named := _ADDRESS.match(backend_of(queue))) is not None:
        found |= {"server.address": named[1], "server.port": int(named[2])}
    return found


def _parameters_of(body: ChatBody) -> dict[str, AttributeValue]:
    found: dict[str, AttributeValue] = {
        name: value for field, name in _FIELDS.items() if (value := getattr(body, field, None)) is not None
    }
    most = body.max_completion_tokens or body.max_tokens
    if most is not None:
        found["gen_ai.request.max_tokens"] = most
    if body.n is not None and body.n != 1:
        found["gen_ai.request.choice.count"] = body.n
    return found
