"""The cost of a finished request beside its way: its line in the log, and its counts for Prometheus.

python -m bench.finished 2>/dev/null
"""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry

from shared.process.finished import log_finished
from shared.process.log import configure_logging
from shared.process.metrics.requests import RequestMetrics
from shared.usage import UsageRecord

if TYPE_CHECKING:
    from collections.abc import Callable

REQUESTS: Final = 5000
ROUNDS: Final = 9
RECORD: Final = UsageRecord(
    request_id="01a2184ad2807025bcd1d1501ee1899f",
    key_id="0198c1d0-0000-7000-8000-000000000001",
    endpoint="chat",
    requested_model="auto",
    model="qwen3:8b",
    tier="local",
    attempts=1,
    admitted_ms=1_790_000_000_000,
    wait_ms=12,
    first_token_ms=250,
    duration_ms=900,
    prompt_tokens=10,
    completion_tokens=20,
    cost_usd=0.25,
    stream=True,
)


def cost_us(finished: Callable[[UsageRecord], object]) -> float:
    """Return the processor time of one finished request, in microseconds: the median of some rounds."""
    found = []
    for _ in range(ROUNDS):
        began_s = time.process_time()
        for _ in range(REQUESTS):
            finished(RECORD)
        found.append((time.process_time() - began_s) / REQUESTS * 1e6)
    return median(found)


def main() -> None:
    """Print what the line costs in either form, and the counts."""
    for form in ("text", "json"):
        configure_logging("INFO", form)
        print(f"line, {form}: {cost_us(log_finished):.1f} us")
    # bool of a name: each is that of a model.
    metrics = RequestMetrics(CollectorRegistry(), bool)
    print(f"counts: {cost_us(metrics.count):.1f} us")


if __name__ == "__main__":
    main()
