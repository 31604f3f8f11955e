"""How a request that its api process ends stands in the usage log: with what arrived here."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from shared.openai.embeddings import decode_embeddings, estimate_embedding_tokens
from shared.openai.prompt_size import estimate_prompt_tokens
from shared.openai.request import ChatRequest
from shared.types import JobDraft, Usage
from shared.usage import NOTHING_SERVED, Counted, Times, UsageRecord, completed

if TYPE_CHECKING:
    from api.relay.incoming import IncomingStream
    from shared.errors import GatewayError
    from shared.models.catalogue import Catalogue


def ended(
    record: UsageRecord,
    draft: JobDraft,
    stream: IncomingStream,
    error: GatewayError,
    tokens: int,
    *,
    began_at: float,
    catalogue: Catalogue,
) -> UsageRecord:
    """Return the record of a request that ended with an error. Tokens are estimated, and priced as a paid API would.

    Args:
        record: as it was opened.
        draft: the last attempt.
        stream: what has come of it.
        error: how it ended.
        tokens: how many of the answer were delivered.
        began_at: when the request came, by the monotonic clock.
        catalogue: the prices.
    """
    opened = msgspec.structs.replace(record, tier=stream.target.tier, model=stream.target.model, attempts=draft.attempt)
    counted = NOTHING_SERVED
    if stream.committed:
        counted = Counted(Usage(_prompt_tokens(draft), tokens), "estimated")
    times = Times(
        wait_ms=_ms_between(began_at, stream.started_at),
        first_token_ms=_ms_between(began_at, stream.first_at),
        duration_ms=int((time.monotonic() - began_at) * 1000),
    )
    return completed(opened, counted, error, times, catalogue)


def _prompt_tokens(draft: JobDraft) -> int:
    if draft.endpoint == "embeddings":
        return estimate_embedding_tokens(decode_embeddings(draft.body))
    return estimate_prompt_tokens(ChatRequest(draft.body, draft.added).body)


def _ms_between(began_at: float, moment: float | None) -> int | None:
    return None if moment is None else int((moment - began_at) * 1000)
