"""The usage of an attempt: as its upstream reports it, and estimated where it does not."""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from io import StringIO
from typing import TYPE_CHECKING, Final

import msgspec

from shared.errors import Draining, FirstTokenTimeout, GatewayError, Malformed
from shared.models.tokenizers import count_tokens
from shared.openai.prompt_size import count_media, prompt_texts
from shared.process.threads import in_thread
from shared.types import Delta, Usage
from shared.usage import NOTHING_SERVED, Counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.models.catalogue import Catalogue
    from shared.types import Event, Job
    from workers.attempts.job_request import JobRequest

NEWS_TOKENS: Final = 256
"""After how many tokens of an answer its api process is told anew what is billed so far."""
COUNT_BOUND_S: Final = 5.0
"""For how long a record waits for an exact count, in seconds; then the rough one stands."""
MESSAGE_TOKENS: Final = 4
"""Tokens of each message besides its text, and of the start of the answer."""
MEDIA_TOKENS: Final = 1_500
"""Tokens of an image or a file, about: OpenAI's images up to 1,445, Claude's up to 1,568 before Opus 4.7."""
CHARS_PER_TOKEN: Final = 4


class TokenCount:
    """Counts the tokens that an attempt has used so far.

    What a paid upstream does not report is counted by the model's tokenizer, that of others roughly: nobody bills it.

    Args:
        job: what is done.
        request: what it says.
        calls: how many requests to the upstream it is, each with the whole prompt.

    Attributes:
        pieces: how many pieces of output came; of a paid one at least a quarter of its characters.
        is_sent: whether the upstream is being asked, so that a paid one bills at least the prompt.
        has_ended: whether the answer's end came: what is reported from then on is all of it.
    """

    def __init__(self, job: Job, request: JobRequest, calls: int = 1) -> None:
        self.pieces = 0
        self.calls = calls
        self.is_sent = False
        self.has_ended = False
        self._job = job
        self._request = request
        self._report: Usage | None = None
        self._is_complete = False
        self._received = StringIO() if job.tier == "paid" else None
        self._exact: tuple[int, int] | None = None
        self._sent: tuple[Usage | None, int] | None = None

    @property
    def report(self) -> Usage | None:
        """Return what the upstream reported, if it did."""
        return self._report

    @property
    def completion_tokens(self) -> int:
        """Return how many tokens were answered, about."""
        return max(self.pieces, self._report.completion_tokens if self._report is not None else 0)

    def expected_tokens(self) -> int:
        """Return about how long the prompts of all calls are together."""
        return self._request.tokens() * self.calls

    def add(self, batch: Sequence[Event], pieces: int) -> int:
        """Add a batch of `pieces` pieces of output; return for how many tokens they count."""
        if self._received is not None:
            before = self._received.tell()
            for event in batch:
                if isinstance(event, Delta):
                    self._keep(event)
            pieces = max(pieces, (self._received.tell() - before) // CHARS_PER_TOKEN)
        self.pieces += pieces
        return pieces

    def take(self, usage: Usage, *, is_whole: bool = False) -> None:
        """Keep what the upstream reports; zeros beside output are no counts."""
        self._report = usage.consistent()
        # A report before the end is of what was made so far: a stream that breaks off then is estimated from it.
        self._is_complete = is_whole or self.has_ended

    async def settle(self) -> None:
        """Count what a paid upstream did not report. Raises nothing: a cancellation only ends the wait."""
        is_billed = self.pieces or self.is_sent or self._report is not None
        if self._received is None or self._is_reported or not is_billed or self._job.endpoint == "embeddings":
            return
        counting = asyncio.ensure_future(in_thread(self._count))
        with suppress(asyncio.CancelledError):
            await asyncio.wait({counting}, timeout=COUNT_BOUND_S)
        if counting.done() and not counting.cancelled() and counting.exception() is None:
            self._exact = counting.result()

    def counted(self) -> Counted:
        """Return what was used, and whether any of it is an estimate."""
        report = self._report or Usage(0, 0)
        if self._is_reported:
            return Counted(self._with_searches(report), "reported")
        expected, answered = self._exact or (self.expected_tokens(), self.pieces)
        completion_tokens = report.completion_tokens
        if not self._is_complete or not completion_tokens:
            completion_tokens = max(completion_tokens, self._bounded(answered))
        # Calls that have not reported had the same prompt as those that have.
        prompt_tokens = math.ceil(report.prompt_tokens * max(1.0, self.calls / report.requests))
        prompt_tokens = prompt_tokens or self._request.within(expected, self.calls)
        usage = msgspec.structs.replace(
            report,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            requests=self.calls,
            billed_usd=report.billed_usd if self._is_complete else None,  # a bill of a part is none
        )
        return Counted(self._with_searches(usage), "estimated")

    def news(self) -> Usage | None:
        """Return what a paid upstream bills so far, where that is much more than when this was last asked; else None.

        For the api process, which knows no more of it should this one die.
        """
        if self._received is None or not self.is_sent or self.has_ended:
            return None
        sent_report, sent_pieces = self._sent or (None, 0)
        if self._sent is not None and sent_report is self._report and self.pieces < sent_pieces + NEWS_TOKENS:
            return None
        self._sent = (self._report, self.pieces)
        return self.counted().usage

    def billed(self, *, has_content: bool) -> Counted:
        """Return what its upstream bills: nothing before the first content, but for a paid one that has begun."""
        is_billed = has_content or (self._received is not None and (self.is_sent or self._report is not None))
        return self.counted() if is_billed else NOTHING_SERVED

    def lost_usd(self, error: GatewayError, catalogue: Catalogue) -> float:
        """Return what a paid upstream bills for an attempt that was given up before its first content, in US dollars.

        Not for what it failed on itself.
        """
        if not isinstance(error, FirstTokenTimeout | Draining | Malformed) or self._received is None:
            return 0.0
        return catalogue.cost_usd(self._job.model, self.billed(has_content=False).usage)

    @property
    def _is_reported(self) -> bool:
        report = self._report
        if report is None or not self._is_complete:
            return False
        return not self.pieces or bool(report.prompt_tokens and report.completion_tokens)

    def _keep(self, delta: Delta) -> None:
        received = self._received
        if received is not None:
            for text in (delta.reasoning, delta.content, delta.refusal):
                if text:
                    received.write(text)
            for call in delta.tool_calls or ():
                received.write(call.name or "")
                received.write(call.arguments)
            if delta.unread:
                received.write(delta.unread)

    def _count(self) -> tuple[int, int]:
        """Count what was sent and what was received; in a thread."""
        body, received = self._request.chat.body, self._received
        sent = count_tokens(list(prompt_texts(body)), self._job.model)
        sent += MESSAGE_TOKENS * len(body.messages) + MEDIA_TOKENS * count_media(body)
        return sent * self.calls, count_tokens([received.getvalue() if received is not None else ""], self._job.model)

    def _bounded(self, answered: int) -> int:
        """Return an estimate of the answer's tokens that is within what the request allowed."""
        if self._job.endpoint == "embeddings":
            return answered
        limit = self._request.chat.body.output_limit
        return answered if limit is None else min(answered, limit * (self._request.chat.body.n or 1))

    def _with_searches(self, usage: Usage) -> Usage:
        """Count the search of OpenAI's models that search the web, which they do not report."""
        if (
            self._job.endpoint == "embeddings"
            or usage.web_searches
            or self._request.chat.body.web_search_options is None
        ):
            return usage
        return msgspec.structs.replace(usage, web_searches=1)
