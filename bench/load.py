"""Runs the load generator, with the CPU time of the gateway's processes around it."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.stack import TOOLS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


@dataclass(frozen=True, kw_only=True)
class Load:
    """A load of the load generator; its model's name says how many tokens come, and how fast."""

    model: str
    at_once: int
    requests: int
    stream: bool = False
    usage: bool = False

    def command(self, url: str, key: str | None = None, headers: Sequence[str] = ()) -> list[str]:
        """Return the command line of the load generator; `headers` are `Name: value`."""
        counts = ["-c", str(self.at_once), "-n", str(self.requests)]
        flags = [*(["--stream"] if self.stream else []), *(["--usage"] if self.usage else [])]
        flags += [part for header in headers for part in ("--header", header)]
        return [*_tool("loadgen"), "--url", url, "--model", self.model, *counts, *flags, *_key(key), "--json"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a load. `reply` is what the load generator printed; `failure` is empty where every reply was whole."""

    reply: dict[str, Any]
    cpu_s: dict[str, float]
    busy: float
    steal: float
    failure: str

    def cpu_per(self, count: int) -> dict[str, float]:
        """Return the CPU seconds of each group for one of `count`."""
        return {group: seconds / max(1, count) for group, seconds in self.cpu_s.items()}


@dataclass(frozen=True)
class Spread:
    """The middle of several measurements, with the lowest and the highest."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Return the spread of at least one value."""
        found = sorted(values)
        return cls(median(found), found[0], found[-1])

    def text(self, digits: int) -> str:
        """Return the spread as a table shows it."""
        return f"{self.middle:,.{digits}f} ({self.low:,.{digits}f}-{self.high:,.{digits}f})"


async def run(
    load: Load, url: str, *, key: str | None = None, headers: Sequence[str] = (), groups: Mapping[str, Sequence[int]]
) -> Run:
    """Run a load; `groups` are the processes whose CPU time is counted."""
    measured = await _json(*_tool("cpu"), *_group_arguments(groups), "--", *load.command(url, key, headers))
    reply = measured.get("load", {})
    return Run(
        reply=reply,
        cpu_s=measured["cpu_s"],
        busy=measured["machine_busy"],
        steal=measured["machine_steal"],
        failure=_failure(load, reply),
    )


async def run_alone(load: Load, url: str, *, key: str | None = None) -> Run:
    """Run a load without counting CPU time."""
    reply = await _json(*load.command(url, key))
    return Run(reply=reply, cpu_s={}, busy=0.0, steal=0.0, failure=_failure(load, reply))


async def cpu_so_far(groups: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Return the CPU seconds that each group has used."""
    measured: dict[str, float] = (await _json(*_tool("cpu"), *_group_arguments(groups)))["cpu_s_so_far"]
    return measured


async def memory_mib(groups: Mapping[str, Sequence[int]]) -> dict[str, tuple[float, float]]:
    """Measure RSS and PSS of each group, in MiB. PSS counts what processes share once."""
    measured = await _json(*_tool("cpu"), *_group_arguments(groups))
    return {group: (rss, pss) for group, (rss, pss, _) in measured["rss_pss_mib_procs"].items()}


async def cpu_while_idle(groups: Mapping[str, Sequence[int]], seconds: int) -> dict[str, Any]:
    """Measure the CPU seconds of each group over a time without load, and how busy the machine was."""
    return await _json(*_tool("cpu"), *_group_arguments(groups), "--", "sleep", str(seconds))


async def _json(*command: str) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    found: dict[str, Any] = json.loads(output)
    return found


def _failure(load: Load, reply: dict[str, Any]) -> str:
    if not reply:
        return f"{load.model}: the load generator failed"
    # Whole means to the end mark: a stream that breaks off has status 200 too.
    if reply["ok"] == reply["requests"] > 0:
        return ""
    return f"{reply['url']} {load.model}: {reply['ok']} of {reply['requests']} replies whole, {reply['errors']}"


def _tool(name: str) -> list[str]:
    # By path: the tools import nothing of ours.
    return [sys.executable, str(TOOLS / f"{name}.py")]


def _key(key: str | None) -> list[str]:
    return ["--key", key] if key else []


def _group_arguments(groups: Mapping[str, Sequence[int]]) -> list[str]:
    return [part for name, pids in groups.items() for part in ("--group", f"{name}={','.join(map(str, pids))}")]
