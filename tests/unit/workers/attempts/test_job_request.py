"""What a job asks, read by its worker."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from shared.errors import Draining, WorkerOutdated
from shared.queue.arq_queue import decode_job, encode_heads, encode_rest
from shared.types import Job, Target
from workers.attempts.job_request import JobRequest


def job(dialect: str, body: dict[str, Any]) -> Job:
    """Return a job as it comes out of its queue."""
    made = Job(
        request_id="0" * 32, attempt=1, api_id="1" * 32, endpoint="chat", requested_model="m", stream=True,
        admitted_ms=0, expires_ms=0, tier="local", model="m", dialect=dialect,
        body=msgspec.Raw(json.dumps(body).encode()),
    )  # fmt: skip
    (head,) = encode_heads([Target("local", "q", "m")], [False])
    return decode_job(head + encode_rest(made))


async def test_a_dialect_of_a_newer_version_is_refused_and_never_read_as_a_chat() -> None:
    """Another worker may know it: such an attempt is tried again, also in the same queue."""
    asked = JobRequest(job("messages_of_2031", {"model": "m", "messages": [{"role": "user", "content": "x"}]}))
    with pytest.raises(WorkerOutdated) as refused:
        await asked.read()
    assert isinstance(refused.value, Draining)
    assert refused.value.fails_over


async def test_what_a_models_context_does_not_hold_is_left_out_where_that_is_allowed() -> None:
    """As an estimate says; more of it where the model refuses the rest; and never of what says nothing of it."""
    items = [{"role": role, "content": 400 * "word "} for role in ("user", "assistant") * 4]
    body = {"model": "m", "input": [*items, {"role": "user", "content": "And?"}]}
    asked = JobRequest(job("responses", {**body, "truncation": "auto"}), lambda: 6000)
    await asked.read()
    left = [len(asked.chat.body.messages)]
    while await asked.shorten():
        left.append(len(asked.chat.body.messages))
    assert left == [7, 3, 1]
    whole = JobRequest(job("responses", body), lambda: 6000)
    await whole.read()
    assert len(whole.chat.body.messages) == 9
    assert not await whole.shorten()
