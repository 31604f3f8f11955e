"""Counts of the requests that this process closed: how many, how long, how many tokens, what they cost.

Made from the record of the usage log when a request has ended, so that its way there costs nothing. Each request is
closed by one process, so the sums over all processes are right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from prometheus_client import Counter, Histogram

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

    from shared.usage import UsageRecord

OTHER: Final = "other"
"""The model of a request for a name that nobody serves: clients choose those, and each would be a series."""
MOST_MODELS: Final = 100
_SECOND: Final = 1000

_WAIT_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_FIRST_TOKEN_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_GAP_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1)
_DURATION_S: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)


class _OfModel(NamedTuple):
    """The series of a model at a tier: looked up once, since finding them costs more than to add to them."""

    wait: Histogram
    first_token: Histogram
    gap: Histogram
    duration: Histogram
    prompt: Counter
    completion: Counter
    cached: Counter
    reasoning: Counter
    cost: Counter
    attempts: Counter


class RequestMetrics:
    """Counts finished requests.

    Args:
        registry: where its series are.
        is_served: whether a name is that of a model which somebody serves now.
    """

    def __init__(self, registry: CollectorRegistry, is_served: Callable[[str], bool]) -> None:
        self._is_served = is_served
        self._models: set[str] = set()
        self._total = Counter(
            "claw_requests",
            "Finished requests, by endpoint, tier and model that served, and status.",
            ("endpoint", "tier", "model", "status"),
            registry=registry,
        )
        of_model = ("tier", "model")
        self._wait = Histogram(
            "claw_request_wait_seconds",
            "From admission to the last attempt's start.",
            of_model,
            buckets=_WAIT_S,
            registry=registry,
        )
        self._first_token = Histogram(
            "claw_request_first_token_seconds",
            "From admission to the first content.",
            of_model,
            buckets=_FIRST_TOKEN_S,
            registry=registry,
        )
        self._gap = Histogram(
            "claw_request_token_gap_seconds",
            "Mean time between the tokens of an answer: one observation a request.",
            of_model,
            buckets=_GAP_S,
            registry=registry,
        )
        self._duration = Histogram(
            "claw_request_duration_seconds",
            "From admission to the end.",
            of_model,
            buckets=_DURATION_S,
            registry=registry,
        )
        self._tokens = Counter(
            "claw_tokens",
            "Tokens, by kind; cached ones are of the prompt, reasoning ones of the completion.",
            (*of_model, "kind"),
            registry=registry,
        )
        self._cost = Counter(
            "claw_cost_usd", "What finished requests cost, in US dollars.", of_model, registry=registry
        )
        self._attempts = Counter(
            "claw_request_attempts",
            "Attempts of finished requests, by tier and model of the last.",
            of_model,
            registry=registry,
        )
        self._totals: dict[tuple[str, str, str, int], Counter] = {}
        self._of_models: dict[tuple[str, str], _OfModel] = {}

    def count(self, record: UsageRecord) -> None:
        """Count a request that has ended, or as many as its record stands for."""
        model = self._model(record)
        key = (record.endpoint, record.tier, model, record.status)
        total = self._totals.get(key)
        if total is None:
            total = self._totals[key] = self._total.labels(*key)
        total.inc(record.count)
        # No model had anything to do with it.
        if not record.attempts:
            return
        series = self._of_models.get((record.tier, model))
        if series is None:
            series = self._of_models[record.tier, model] = self._new(record.tier, model)
        if record.wait_ms is not None:
            series.wait.observe(record.wait_ms / _SECOND)
        if record.first_token_ms is not None:
            series.first_token.observe(record.first_token_ms / _SECOND)
            # One token has no gap, and an answer in one body shows none.
            if record.completion_tokens > 1 and record.stream:
                answered_s = max(0, record.duration_ms - record.first_token_ms) / _SECOND
                series.gap.observe(answered_s / (record.completion_tokens - 1))
        series.duration.observe(record.duration_ms / _SECOND)
        series.attempts.inc(record.attempts)
        for counter, number in (
            (series.prompt, record.prompt_tokens),
            (series.completion, record.completion_tokens),
            (series.cached, record.cached_tokens),
            (series.reasoning, record.reasoning_tokens),
            (series.cost, record.cost_usd),
        ):
            if number > 0:
                counter.inc(number)

    def _model(self, record: UsageRecord) -> str:
        """Return the name of a model that is known to be one, else `OTHER`."""
        name = record.model or record.requested_model
        if name in self._models:
            return name
        # What has answered is a model, whoever asked for it first; all else must be on offer.
        is_model = (record.status == 200 and bool(record.model)) or self._is_served(name)
        if not is_model or len(self._models) >= MOST_MODELS:
            return OTHER
        self._models.add(name)
        return name

    def _new(self, tier: str, model: str) -> _OfModel:
        return _OfModel(
            self._wait.labels(tier, model),
            self._first_token.labels(tier, model),
            self._gap.labels(tier, model),
            self._duration.labels(tier, model),
            self._tokens.labels(tier, model, "prompt"),
            self._tokens.labels(tier, model, "completion"),
            self._tokens.labels(tier, model, "cached"),
            self._tokens.labels(tier, model, "reasoning"),
            self._cost.labels(tier, model),
            self._attempts.labels(tier, model),
        )
