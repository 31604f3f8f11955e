"""What an attempt has used: as its upstream reports it, and estimated where it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from shared.openai.embeddings import decode_embeddings, estimate_embedding_tokens
from shared.openai.prompt_size import estimate_prompt_tokens
from shared.types import Usage
from shared.usage import NOTHING_SERVED, Counted

if TYPE_CHECKING:
    from shared.openai.request import ChatRequest
    from shared.types import Job


class TokenCount:
    """What an attempt has used so far.

    Args:
        job: what is done.
        request: what it says, for chat.

    Attributes:
        pieces: how many pieces of output came.
        is_open: whether the upstream has accepted the request, so that a paid one bills at least its prompt.
        has_ended: whether the answer's end came: what is reported from then on is all of it.
    """

    def __init__(self, job: Job, request: ChatRequest) -> None:
        self.pieces = 0
        self.is_open = False
        self.has_ended = False
        self._job = job
        self._request = request
        self._report: Usage | None = None
        self._is_complete = False

    @property
    def report(self) -> Usage | None:
        """Return what the upstream reported, if it did."""
        return self._report

    @property
    def completion_tokens(self) -> int:
        """Return how many tokens were answered, about."""
        return max(self.pieces, self._report.completion_tokens if self._report is not None else 0)

    def asked_tokens(self) -> int:
        """Return about how long the prompt is."""
        if self._job.endpoint == "embeddings":
            return estimate_embedding_tokens(decode_embeddings(self._job.body))
        return estimate_prompt_tokens(self._request.body)

    def take(self, usage: Usage) -> None:
        """Keep what the upstream reports; zeros beside output are no counts."""
        self._report = usage.consistent()
        # A report before the end is of what was made so far: a stream that breaks off then is estimated from it.
        self._is_complete = self.has_ended

    def counted(self) -> Counted:
        """Return what was used, and whether any of it is an estimate: a token for each piece of output."""
        report = self._report
        if report is not None and self._is_complete:
            if not self.pieces or (report.prompt_tokens and report.completion_tokens):
                return Counted(report, "reported")
            completion_tokens = report.completion_tokens or self.pieces
        else:
            report = report or Usage(0, 0)
            completion_tokens = max(report.completion_tokens, self.pieces)
        prompt_tokens = report.prompt_tokens or self.asked_tokens()
        usage = msgspec.structs.replace(report, prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)
        return Counted(usage, "estimated")

    def billed(self, *, has_content: bool) -> Counted:
        """Return what its upstream bills: nothing before the first content, but for a paid one that has begun."""
        is_billed = has_content or (self._job.tier == "paid" and (self.is_open or self._report is not None))
        return self.counted() if is_billed else NOTHING_SERVED
