"""Completing and closing usage records."""

from __future__ import annotations

import msgspec
from arq.constants import in_progress_key_prefix, job_key_prefix

from shared.errors import StreamBroken
from shared.models.catalogue import default_catalogue, nano_usd
from shared.redis.names import in_progress_key, job_key
from shared.types import Usage
from shared.usage import NOTHING_SERVED, Closing, ClosingMode, Counted, Times, UsageRecord, completed

TIMES = Times(wait_ms=1, first_token_ms=2, duration_ms=3)


def opened(tier: str, model: str) -> UsageRecord:
    """Return a request that is open, and who serves it."""
    return UsageRecord(
        request_id="0" * 32, key_id=None, endpoint="chat", requested_model="m", admitted_ms=0, tier=tier, model=model
    )


def test_a_paid_answer_costs_what_the_catalogue_says() -> None:
    """Broken off or not; a local one of the same name costs nothing."""
    counted = Counted(Usage(1_000_000, 0), "estimated")
    catalogue = default_catalogue()
    price = catalogue.cost_usd("gpt-4o", counted.usage)
    broken = completed(opened("paid", "gpt-4o"), counted, StreamBroken("gone"), TIMES, catalogue)
    assert (broken.cost_usd, broken.status, broken.usage_source) == (price, 502, "estimated")
    assert price > 0
    local = completed(opened("local", "gpt-4o"), counted, None, TIMES, catalogue)
    assert (local.cost_usd, local.status, local.error_code) == (0.0, 200, None)


def test_what_served_nothing_costs_nothing() -> None:
    """Its tokens are from nowhere."""
    record = completed(opened("paid", "gpt-4o"), NOTHING_SERVED, StreamBroken("gone"), TIMES, default_catalogue())
    assert (record.cost_usd, record.usage_source, record.prompt_tokens) == (0.0, "none", 0)


def test_a_closing_says_what_is_charged_to_whom() -> None:
    """A worker's of a tier that costs nothing leaves the budget alone."""
    record = msgspec.structs.replace(opened("paid", "gpt-4o"), cost_usd=0.5)
    closing = Closing.of(record, ClosingMode.HELD, api_id="ab", job_id="j", queue="q")
    assert (closing.cost_nano_usd, closing.owner, closing.budget) == (
        nano_usd(0.5), "internal", "claw:budget:1970-01"
    )  # fmt: skip
    assert not Closing.of(opened("local", "m"), ClosingMode.HELD, api_id="ab", job_id="j").budget
    assert Closing.of(opened("local", "m"), ClosingMode.OPEN, api_id="ab", job_id="j").budget


def test_arqs_keys_are_named_as_arq_does() -> None:
    """Its own tools read our jobs."""
    assert job_key("x") == job_key_prefix + "x"
    assert in_progress_key("x") == in_progress_key_prefix + "x"
