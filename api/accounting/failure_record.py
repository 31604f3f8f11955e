"""How a request that its api process ends stands in the usage log: with what arrived here."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from shared.openai.embeddings import decode_embeddings, estimate_embedding_tokens
from shared.openai.request import decode_chat, estimate_prompt_tokens
from shared.types import JobDraft, Usage, UsageRecord

if TYPE_CHECKING:
    from api.relay.incoming import Inbound
    from shared.errors import GatewayError
    from shared.models.catalogue import Catalogue


def ended(
    record: UsageRecord,
    draft: JobDraft,
    inbound: Inbound,
    error: GatewayError,
    tokens: int,
    *,
    began_at: float,
    catalogue: Catalogue,
) -> UsageRecord:
    """The record of a request that ended with an error. Tokens are an estimate, and cost what a paid API asks for them.

    Args:
        record: as it was opened.
        draft: the last attempt.
        inbound: what has come of it.
        error: how it ended.
        tokens: how many of the answer were delivered.
        began_at: when the request came, by the monotonic clock.
        catalogue: the prices.
    """
    target = inbound.target
    prompt_tokens = _prompt_tokens(draft) if inbound.committed else 0
    is_paid = target.tier == "paid" and inbound.committed
    return msgspec.structs.replace(
        record,
        tier=target.tier,
        model=target.model,
        cost_usd=catalogue.cost_usd(target.model, Usage(prompt_tokens, tokens)) if is_paid else 0.0,
        status=error.status,
        error_code=error.code,
        prompt_tokens=prompt_tokens,
        completion_tokens=tokens,
        usage_source="estimated" if inbound.committed else "none",
        attempts=draft.attempt,
        wait_ms=_ms_between(began_at, inbound.started_at),
        first_token_ms=_ms_between(began_at, inbound.first_at),
        duration_ms=_ms_between(began_at, time.monotonic()),
    )


def _prompt_tokens(draft: JobDraft) -> int:
    if draft.endpoint == "embeddings":
        return estimate_embedding_tokens(decode_embeddings(draft.body))
    return estimate_prompt_tokens(decode_chat(draft.body))


def _ms_between(began_at: float, moment: float | None) -> int | None:
    return None if moment is None else int((moment - began_at) * 1000)
