"""Run the loads of a comparison at several gateways in turn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from bench import costs
from bench.compare.machine import Usage, read
from bench.compare.pairs import FIRST, MEMORY, REQUEST, SPEED, TOKEN, Sample, order
from bench.load import memory_mib, run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from bench.load import Load, Run

_Found = TypeVar("_Found")


@dataclass(frozen=True, kw_only=True)
class Target:
    """A gateway that runs.

    Attributes:
        name: its column.
        url: of its chat completions.
        direct: of its upstream's chat completions.
        groups: the processes whose CPU time and memory count.
        key: what the load is sent with.
        headers: further headers, as `Name: value`.
    """

    name: str
    url: str
    direct: str
    groups: Mapping[str, Sequence[int]]
    key: str | None = None
    headers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sizes:
    """Sizes of each load in a round."""

    requests: int = costs.REQUEST.requests
    streams: int = costs.CHAT.requests
    first_tokens: int = costs.FIRST_TOKEN.requests

    def loads(self) -> tuple[Load, Load, Load]:
        """Return the three loads: requests, chat streams, first tokens."""
        return (
            replace(costs.REQUEST, requests=self.requests),
            replace(costs.CHAT, requests=self.streams),
            replace(costs.FIRST_TOKEN, requests=self.first_tokens),
        )


async def measure_round(targets: Sequence[Target], sizes: Sizes, number: int) -> dict[str, list[Sample]]:
    """Measure every load at every gateway, one gateway right after the other.

    Args:
        targets: the gateways.
        sizes: how much is sent.
        number: of the round; the gateways take turns at being first.
    """
    by_name = {target.name: target for target in targets}
    found: dict[str, list[Sample]] = {name: [] for name in by_name}
    # By load, not by gateway: the two runs of a pair are minutes apart at most, whatever the machine does meanwhile.
    for measure in (_memory, _requests, _chat, _first_token):
        for name in order(list(by_name), number):
            found[name].append(await measure(by_name[name], sizes))
    return found


async def warm_up(targets: Sequence[Target], sizes: Sizes) -> list[str]:
    """Send each load once, uncounted and short; the failures."""
    failures = []
    for target in targets:
        for load in sizes.loads():
            short = replace(load, requests=2 * load.at_once)
            failures.append((await _run(target, short)).failure)
    return [failure for failure in failures if failure]


async def _memory(target: Target, _: Sizes) -> Sample:
    found, usage = await _metered(lambda: memory_mib(target.groups))
    return Sample({MEMORY: sum(pss for _, pss in found.values())}, usage)


async def _requests(target: Target, sizes: Sizes) -> Sample:
    load, _, _ = sizes.loads()
    one, usage = await _metered(lambda: _run(target, load))
    if one.failure:
        return _failed(target, usage, one)
    return Sample({REQUEST: 1e3 * sum(one.cpu_per(one.reply["ok"]).values()), SPEED: one.reply["rps"]}, usage)


async def _chat(target: Target, sizes: Sizes) -> Sample:
    _, load, _ = sizes.loads()
    one, usage = await _metered(lambda: _run(target, load))
    if one.failure:
        return _failed(target, usage, one)
    return Sample({TOKEN: 1e6 * sum(one.cpu_per(one.reply["tokens"]).values())}, usage)


async def _first_token(target: Target, sizes: Sizes) -> Sample:
    _, _, load = sizes.loads()

    async def both() -> tuple[Run, Run]:
        return await run(load, target.direct, groups=target.groups), await _run(target, load)

    (direct, through), usage = await _metered(both)
    if direct.failure or through.failure:
        return _failed(target, usage, direct, through)
    return Sample({FIRST: through.reply["ttft_ms"]["p50"] - direct.reply["ttft_ms"]["p50"]}, usage)


async def _run(target: Target, load: Load) -> Run:
    return await run(load, target.url, key=target.key, headers=target.headers, groups=target.groups)


async def _metered(measure: Callable[[], Awaitable[_Found]]) -> tuple[_Found, Usage]:
    before = read()
    found = await measure()
    return found, Usage.between(before, read())


def _failed(target: Target, usage: Usage, *runs: Run) -> Sample:
    return Sample({}, usage, tuple(f"{target.name}: {one.failure}" for one in runs if one.failure))
