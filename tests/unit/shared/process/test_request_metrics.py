"""Counts of finished requests: right sums, and no more series than there are models."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from shared.process.metrics.requests import MOST_MODELS, OTHER, RequestMetrics
from shared.usage import UsageRecord

RECORD = UsageRecord(
    request_id="01a2184ad2807025bcd1d1501ee1899f",
    key_id=None,
    endpoint="chat",
    requested_model="auto",
    model="qwen3:8b",
    tier="local",
    attempts=2,
    admitted_ms=0,
    wait_ms=20,
    first_token_ms=300,
    duration_ms=1200,
    prompt_tokens=10,
    completion_tokens=31,
    cached_tokens=4,
    cost_usd=0.25,
    stream=True,
)
SERVED = {"qwen3:8b", "llama"}


def counted(*records: UsageRecord) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Count requests; return each sample by name and labels, as Prometheus reads them."""
    registry = CollectorRegistry()
    metrics = RequestMetrics(registry, SERVED.__contains__)
    for record in records:
        metrics.count(record)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def of_model(name: str, **labels: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return a sample's key at the model of `RECORD`."""
    return name, tuple(sorted({"tier": "local", "model": "qwen3:8b", **labels}.items()))


def test_a_request_counts_once_in_each_measure() -> None:
    """Requests, attempts, times, tokens of each kind, and cost."""
    samples = counted(RECORD, RECORD)
    assert samples[of_model("claw_requests_total", endpoint="chat", status="200")] == 2
    assert samples[of_model("claw_request_attempts_total")] == 4
    assert samples[of_model("claw_request_wait_seconds_sum")] == 0.04
    assert samples[of_model("claw_request_first_token_seconds_bucket", le="0.5")] == 2
    assert samples[of_model("claw_request_first_token_seconds_bucket", le="0.25")] == 0
    assert samples[of_model("claw_request_duration_seconds_count")] == 2
    # 900 ms for 30 gaps between 31 tokens.
    assert round(samples[of_model("claw_request_token_gap_seconds_sum")], 6) == 0.06
    kinds = {kind: samples[of_model("claw_tokens_total", kind=kind)] for kind in ("prompt", "completion", "cached")}
    assert kinds == {"prompt": 20, "completion": 62, "cached": 8}
    assert samples[of_model("claw_cost_usd_total")] == 0.5


def test_a_row_that_stands_for_many_counts_as_many() -> None:
    """Refusals past their bound; no attempt was made, so no time is measured."""
    refused = msgspec.structs.replace(RECORD, model="", tier="", status=429, attempts=0, count=70)
    samples = counted(refused)
    labels = (("endpoint", "chat"), ("model", OTHER), ("status", "429"), ("tier", ""))
    assert samples["claw_requests_total", labels] == 70
    assert not any("seconds_count" in name for name, _ in samples)


@given(
    st.lists(
        st.tuples(st.text(max_size=12), st.sampled_from(["", "qwen3:8b", "ghost"]), st.sampled_from([200, 404, 502])),
        max_size=40,
    )
)
def test_clients_cannot_make_series(asked: list[tuple[str, str, int]]) -> None:
    """A name counts as itself where somebody serves it or it has answered; whatever a client writes, else as other."""
    records = [
        msgspec.structs.replace(RECORD, requested_model=name, model=model, status=status, attempts=bool(model))
        for name, model, status in asked
    ]
    samples = counted(*records)
    models = {dict(labels)["model"] for _, labels in samples}
    assert models <= {OTHER, "qwen3:8b", "llama", "ghost"}
    total = sum(value for (name, _), value in samples.items() if name == "claw_requests_total")
    assert total == len(records)


def test_the_number_of_models_is_bounded() -> None:
    """Also of those that answer."""
    records = [msgspec.structs.replace(RECORD, model=f"model-{number}") for number in range(MOST_MODELS + 50)]
    samples = counted(*records)
    assert len({dict(labels)["model"] for _, labels in samples}) == MOST_MODELS + 1
    other = of_model("claw_requests_total", endpoint="chat", status="200", model=OTHER)
    assert samples[other] == 50
