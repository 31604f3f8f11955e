"""CPU time of a request and of a token: by process, by user and kernel, and by part of the program.

Needs Linux's perf. py-spy is installed at a pinned version, as other gateways are (`bench/peers/install.py`).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.costs import CHAT, REQUEST, warm_up
from bench.load import run, run_alone
from bench.peers.install import install_python
from bench.profiling.parts import by_function, by_library, divided
from bench.report import Report, machine_line, table
from bench.stack import StackFailed, running

if TYPE_CHECKING:
    from bench.load import Load, Run
    from bench.report import Options
    from bench.stack import Stack

PY_SPY: Final = "py-spy==0.4.3"
SAMPLED_S: Final = 10
RATE: Final = 200
"""Samples of py-spy a second."""
MEASURED: Final = {
    "request, not streamed, 32 at once": replace(REQUEST, requests=3000),
    "token, 256 at 5 ms, 50 at once": replace(CHAT, requests=400),
}
SAMPLED: Final = ("api", "worker")
_SHORTER: Final = 4
"""Divisor of the load that is sent again and again while samples are taken."""
_SMALLEST_SHARE: Final = 0.005
_HZ: Final = os.sysconf("SC_CLK_TCK")


async def profile(options: Options) -> Report:
    """Profile both loads; samples are taken apart from what is measured, since taking them costs CPU time.

    Raises:
        StackFailed: perf or py-spy is missing, or may not look at processes.
    """
    del options
    if shutil.which("perf") is None:
        raise StackFailed("perf is missing: install it (Debian: linux-perf).")
    py_spy = str(await asyncio.to_thread(install_python, PY_SPY) / "py-spy")
    report = Report("Profile: CPU by process, and by part of the program")
    async with running() as stack:
        await warm_up(stack, *MEASURED.values())
        for name, load in MEASURED.items():
            measured, split = await _measured(stack, load)
            sampled = await _sampled(stack, replace(load, requests=load.requests // _SHORTER), py_spy, report)
            report.check(measured)
            report.raw[name] = {"us": split, "shares": sampled}
            if not report.failures:
                report.lines += [name, "", *_by_process(split), "", *_by_part(split, sampled), ""]
                report.lines += [machine_line([measured]), ""]
    report.lines.append("Parts: by perf, and what that finds in the interpreter by the functions that py-spy finds.")
    return report


async def _measured(stack: Stack, load: Load) -> tuple[Run, dict[str, tuple[float, float]]]:
    """Run a load; return with it the microseconds in user and kernel mode that each process used for one of it."""
    before = _ticks(stack)
    one = await run(load, _url(stack), key=stack.key, groups=stack.groups)
    after = _ticks(stack)
    count = max(1, one.reply.get("tokens" if load.stream else "ok", 0))
    each = 1e6 / _HZ / count
    return one, {
        group: ((after[group][0] - user) * each, (after[group][1] - system) * each)
        for group, (user, system) in before.items()
    }


async def _sampled(stack: Stack, load: Load, py_spy: str, report: Report) -> dict[str, dict[str, float]]:
    """Sample api and worker under a load; return the share of each part."""
    is_over = asyncio.Event()
    loading = asyncio.create_task(_keep_busy(stack, load, is_over, report))
    try:
        with tempfile.TemporaryDirectory(prefix="claw-bench-") as folder:
            return {group: await _parts(py_spy, stack.groups[group][0], Path(folder) / group) for group in SAMPLED}
    finally:
        is_over.set()
        await loading


async def _keep_busy(stack: Stack, load: Load, is_over: asyncio.Event, report: Report) -> None:
    while not is_over.is_set():
        report.check(await run_alone(load, _url(stack), key=stack.key))


async def _parts(py_spy: str, pid: int, file: Path) -> dict[str, float]:
    of = ("--pid", str(pid), "--output", str(file))
    await _output_of("perf", "record", "--quiet", "--event", "task-clock", *of, "sleep", str(SAMPLED_S))
    libraries = by_library(
        (await _output_of("perf", "script", "--input", str(file), "--fields", "ip,dso")).splitlines()
    )
    # Else py-spy stops the process for each sample.
    how = ("--nonblocking", "--format", "raw", "--duration", str(SAMPLED_S), "--rate", str(RATE))
    await _output_of(py_spy, "record", *how, *of)
    stacks = await asyncio.to_thread(file.read_text)
    return divided(libraries, by_function(stacks.splitlines()))


async def _output_of(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, complaint = await process.communicate()
    if process.returncode:
        raise StackFailed(f"{command[0]}: {complaint.decode(errors='replace')[-500:]}")
    return output.decode(errors="replace")


def _by_process(split: dict[str, tuple[float, float]]) -> list[str]:
    rows = [(group, f"{user:.1f}", f"{system:.1f}", f"{user + system:.1f}") for group, (user, system) in split.items()]
    user, system = (sum(part[at] for part in split.values()) for at in (0, 1))
    rows.append(("all", f"{user:.1f}", f"{system:.1f}", f"{user + system:.1f}"))
    return table(("us CPU", "user", "kernel", "both"), rows)


def _by_part(split: dict[str, tuple[float, float]], sampled: dict[str, dict[str, float]]) -> list[str]:
    rows = [
        (group, part, f"{share:.1%}", f"{share * sum(split[group]):.1f}")
        for group, parts in sampled.items()
        for part, share in parts.items()
        if share >= _SMALLEST_SHARE
    ]
    return table(("process", "part", "share", "us CPU"), rows)


def _ticks(stack: Stack) -> dict[str, tuple[int, int]]:
    """Return the ticks in user and kernel mode that each process has used."""
    found = {}
    for group, pids in stack.groups.items():
        # From the last bracket: a process's name may hold spaces and brackets (proc(5)).
        fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
        found[group] = (sum(int(each[11]) for each in fields), sum(int(each[12]) for each in fields))
    return found


def _url(stack: Stack) -> str:
    return f"{stack.apis[0]}/v1/chat/completions"
