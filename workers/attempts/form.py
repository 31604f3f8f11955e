"""The form in which a client wants its answer: a stream of chunks, or one body."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.ids import completion_id
from shared.openai.reply import ChunkEncoder, CompletionFold

if TYPE_CHECKING:
    from shared.openai.request import ChatBody
    from shared.types import Job, Usage


def form_of(job: Job, asked: ChatBody) -> tuple[ChunkEncoder | None, CompletionFold | None]:
    """Return what encodes a streamed answer, or else what folds one that is not."""
    if not job.stream:
        return None, CompletionFold(legacy_calls=asked.has_legacy_calls)
    encoder = ChunkEncoder(
        completion_id(job.request_id),
        job.admitted_ms // 1000,
        job.model,
        include_usage=asked.wants_usage,
        legacy_calls=asked.has_legacy_calls,
    )
    return encoder, None


def folded(job: Job, fold: CompletionFold, usage: Usage) -> bytes:
    """Return the body of an answer that is not streamed."""
    return fold.body(completion_id(job.request_id), job.admitted_ms // 1000, job.model, usage)
