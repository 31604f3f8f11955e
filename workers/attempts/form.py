"""The form in which a client wants its answer: a stream, or one body, of its dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.dialects.base import ReplyHead
from shared.dialects.table import DIALECTS

if TYPE_CHECKING:
    from shared.dialects.base import Encoder, Fold
    from shared.openai.request import ChatRequest
    from shared.types import Job


def form_of(job: Job, request: ChatRequest) -> tuple[Encoder | None, Fold | None]:
    """Return what encodes a streamed answer, or else what folds one that is not."""
    dialect, head = DIALECTS[job.dialect], ReplyHead.of(job, job.model)
    return (dialect.encoder(head, request), None) if job.stream else (None, dialect.fold(head, request))
