"""The form in which a client wants its answer: a stream, or one body, of its dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.dialects.base import ReplyHead
from shared.dialects.table import DIALECTS

if TYPE_CHECKING:
    from shared.dialects.base import Encoder, Fold
    from shared.openai.request import ChatRequest
    from shared.types import Job
    from workers.attempts.session_answer import KeptAnswer


def form_of(job: Job, request: ChatRequest, kept: KeptAnswer | None) -> tuple[Encoder | None, Fold | None]:
    """Return what encodes a streamed answer, or else what folds one that is not; `kept` follows it."""
    dialect, head = DIALECTS[job.dialect], ReplyHead.of(job, job.model)
    encoder = dialect.encoder(head, request) if job.stream else None
    fold = None if job.stream else dialect.fold(head, request)
    if kept is not None:
        kept.follow(encoder or fold)
    return encoder, fold
