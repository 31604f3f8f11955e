"""Live workers, asked through Redis: their upstreams, their credentials, their clocks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from shared.process.checkup import ask_workers
from shared.process.doctor.finding import Finding
from shared.redis.client import UNREACHABLE
from shared.settings import host_name
from shared.types import TIERS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redis.asyncio import Redis

    from shared.process.checkup import Answers, WorkerCheck

MOST_SKEW_S: Final = 2.0
_NO_MODELS: Final = "Install one: nself claw models install --auto"
_NO_MODELS_OF_A_KEY: Final = (
    "Has its key access to a model? A paid API that lists none: name them in CLAW_PAID_<NAME>_MODELS"
)


async def check_workers(redis: Redis) -> list[Finding]:
    """Return what live workers say of themselves, and what the answers say of their clocks."""
    here_ms = int(time.time() * 1000)
    try:
        answers = await ask_workers(redis)
    except UNREACHABLE as error:
        return [Finding("workers", "unchecked", f"Redis does not answer ({type(error).__name__})")]
    machines = {answer.machine: answer.now_ms for answer in answers.answers}
    # Last: between its own look at the clock and that of Redis lies one answer of Redis, no more.
    machines[host_name()] = here_ms
    return [*_tiers(answers), *_accounts(answers.answers), *_clocks(machines, answers.sent_ms)]


def _tiers(answers: Answers) -> Iterable[Finding]:
    answered = {answer.worker for answer in answers.answers}
    for worker in answers.announced:
        if worker.refusal:
            yield Finding("workers", "wrong", f"A worker of the {worker.tier} tier serves nothing: {worker.refusal}")
        elif worker.worker_id not in answered:
            text = f"A worker of the {worker.tier} tier did not answer; it may be of another version, or very busy"
            yield Finding("workers", "note", text)
    if not answers.announced:
        yield Finding(
            "workers",
            "wrong",
            "No worker is alive: every request is refused",
            "nself claw up, or python -m workers local",
        )
    for tier in TIERS:
        if not any(worker.tier == tier for worker in answers.announced):
            text = f"No worker of the {tier} tier is alive: its model servers and credentials are not checked"
            yield Finding("workers", "unchecked", text)


def _accounts(answers: Iterable[WorkerCheck]) -> Iterable[Finding]:
    seen = set()
    for answer in answers:
        for check in answer.accounts:
            text = f"{check.backend}, asked by {answer.machine}: {check.error or _listed(check.models)}"
            if answer.tier != "local":
                text = f"{check.account} at {text}"
            if (check.error, text) in seen:
                continue  # several workers of a machine
            seen.add((check.error, text))
            part = "model server" if answer.tier == "local" else "credential"
            if check.is_refused:
                yield Finding(part, "wrong", text, "Give its worker a credential that is accepted, and start it again.")
            elif check.error:
                yield Finding(part, "wrong", text, "Is it running, and does that machine reach it?")
            elif not check.models:
                yield Finding(part, "note", text, _NO_MODELS if answer.tier == "local" else _NO_MODELS_OF_A_KEY)
            else:
                yield Finding(part, "ok", text)
        if not answer.accounts:
            yield Finding(
                "credential", "note", f"A worker of the {answer.tier} tier on {answer.machine} has no account"
            )


def _clocks(machines: dict[str, int], sent_ms: int) -> Iterable[Finding]:
    for machine, now_ms in sorted(machines.items()):
        skew_s = (now_ms - sent_ms) / 1000
        if abs(skew_s) > MOST_SKEW_S:
            way = "ahead of" if skew_s > 0 else "behind"
            text = f"The clock of {machine} is {abs(skew_s):.1f} s {way} that of Redis"
            yield Finding(
                "clock", "wrong", text, "Set both by NTP: limits, budgets and times in the usage log go wrong."
            )
        else:
            yield Finding("clock", "ok", f"The clock of {machine} agrees with that of Redis")


def _listed(models: int) -> str:
    return f"lists {models} model{'' if models == 1 else 's'}"
