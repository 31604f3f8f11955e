"""The gateway's health, and what to do about it: from readiness, workers and queues. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from api.accounting.budget import BudgetState
    from api.endpoints.queue.backends import BackendState
    from api.ui.pages.overview.figures import Figures
    from shared.types import Announcement

State = Literal["wrong", "note"]
LONG_WAIT_S: Final = 30.0
MANY_FAILED: Final = 0.1
FEW_REQUESTS: Final = 10
"""Shares of fewer say nothing."""
NEARLY_SPENT: Final = 0.8

_PARTS: Final = {
    "redis": ("Redis", "Requests cannot be queued without it. Is it running, and is REDIS_URL right?"),
    "postgres": ("PostgreSQL", "Keys that are not cached cannot be checked. Is it running, and is DATABASE_URL right?"),
    "models": ("Models", "No worker offers a model: start one, or install a model on the page Models & tiers."),
    "usage": ("The usage log", "Is a recorder running (python -m workers recorder)? Its log says why it cannot write."),
}
_WORDS: Final = {
    "ready": "Everything works",
    "degraded": "It works, but not as it should",
    "not ready": "Requests cannot be served",
    "draining": "This process is about to end",
}


class Finding(msgspec.Struct, frozen=True):
    """Something that the operator wants to know of, and what to do about it. `page` is where more is to be seen."""

    state: State
    text: str
    mend: str = ""
    page: str = ""


class Health(msgspec.Struct, frozen=True):
    """The gateway's health: in a word for machines and one for people, and why."""

    status: str
    text: str
    findings: tuple[Finding, ...]

    @property
    def kind(self) -> str:
        """Return how it is shown: good, warn or bad."""
        if self.status == "not ready" or any(finding.state == "wrong" for finding in self.findings):
            return "bad"
        return "warn" if self.findings or self.status != "ready" else "good"


def judged(status: str, findings: Iterable[Finding]) -> Health:
    """Return how the gateway is: what is wrong comes first."""
    found = tuple(sorted(findings, key=lambda finding: finding.state != "wrong"))
    text = _WORDS.get(status, status)
    if status == "ready" and found:
        text = "It is ready, and there is something to look at"
    return Health(status, text, found)


def of_readiness(status: str, lacks: Mapping[str, str | None]) -> Iterator[Finding]:
    """Find what the process itself lacks, as /ready says."""
    for name, why in lacks.items():
        if why is not None:
            title, mend = _PARTS.get(name, (name, ""))
            yield Finding("wrong" if status == "not ready" else "note", f"{title}: {why or 'missing'}", mend)


def of_workers(workers: Sequence[Announcement]) -> Iterator[Finding]:
    """Find workers that serve nothing."""
    if not workers:
        yield Finding("wrong", "No worker is alive: every request is refused", "nself claw up starts them.", "live")
    for worker in workers:
        if worker.refusal:
            text = f"A worker of the {worker.tier} tier on {worker.host or 'an unknown machine'} serves nothing"
            yield Finding("wrong", f"{text}: {worker.refusal}", page="live")


def of_backends(backends: Iterable[BackendState]) -> Iterator[Finding]:
    """Find backends that take no requests, and queues that are long."""
    for each in backends:
        if each.state == "no worker":
            text = f"{each.waiting} requests wait for {each.backend}, which no worker serves"
            yield Finding("wrong", text, "Start a worker for it, or resume it.", "live")
        elif each.state == "paused":
            yield Finding("note", f"{each.backend} is paused", "Resume it when it shall serve again.", "live")
        elif each.state == "closed":
            yield Finding("note", f"{each.backend} is closed for now: no account can serve it", page="models")
        if each.oldest_wait_s is not None and each.oldest_wait_s > LONG_WAIT_S:
            text = f"Someone has waited {each.oldest_wait_s:.0f} s for {each.backend}, with {each.waiting} in line"
            yield Finding("note", text, "More slots or workers would shorten it.", "live")


def of_figures(figures: Figures) -> Iterator[Finding]:
    """Find that many requests failed."""
    if figures.total() >= FEW_REQUESTS and figures.failed_share >= MANY_FAILED:
        text = f"{figures.failed_share:.0%} of the requests of the last {figures.span.title} failed or were refused"
        yield Finding("note", text, "The list of failures below says why.")


def of_budget(budget: BudgetState | None) -> Iterator[Finding]:
    """Find that the month's budget is nearly spent."""
    if budget is None or not budget.limit_usd or budget.spent_usd < NEARLY_SPENT * budget.limit_usd:
        return
    text = f"${budget.spent_usd:.2f} of this month's ${budget.limit_usd:.2f} for paid models are spent"
    is_spent = budget.spent_usd >= budget.limit_usd
    mend = "Paid models are refused until it begins anew." if is_spent else "Then paid models are refused."
    yield Finding("note", text, mend, "models")
