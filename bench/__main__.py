"""`python -m bench`: measure what the gateway costs. Exits 1 where a reply was not whole; no timing is asserted.

`--against REV` and `peers` compare, and exit 3 where the machine was busy with other things meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.capacity import capacity
from bench.compare.against import against
from bench.compare.measure import Sizes
from bench.costs import costs
from bench.idle import idle
from bench.knowledge import knowledge
from bench.load import cpu_while_idle
from bench.memory import memory
from bench.peers.compare import peers
from bench.peers.gateways import PEERS
from bench.pickup import pickup
from bench.profiling.profile import profile
from bench.report import Options, Report
from bench.scaling import scaling
from bench.serve import serve
from bench.stack import StackFailed
from bench.wires import wires

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

MEASURES: Final[dict[str, Callable[[Options], Awaitable[Report]]]] = {
    "costs": costs,
    "wires": wires,
    "scaling": scaling,
    "memory": memory,
    "idle": idle,
    "pickup": pickup,
    "capacity": capacity,
    "knowledge": knowledge,
    "profile": profile,
}


BY_DEFAULT: Final = [name for name in MEASURES if name not in {"knowledge", "profile"}]
"""But those that take minutes or install something, which are run where `--only` names them."""
_LOOK_S: Final = 3
_QUIET: Final = 0.1


def main() -> int:
    """Run the measures that are asked for; return the exit code."""
    arguments = _parser().parse_args()
    _allow_many_files()
    options = Options(rounds=1 if arguments.quick else arguments.rounds)
    try:
        print(asyncio.run(_machine()), flush=True)
        if arguments.serve:
            asyncio.run(serve())
            return 0
        if arguments.what == "peers":
            comparing = peers(arguments.peer or (), rounds=options.rounds, sizes=_sizes(arguments))
            return _compare(comparing, arguments.json)
        if arguments.against:
            return _compare(against(arguments.against, rounds=options.rounds, sizes=_sizes(arguments)), arguments.json)
        reports = asyncio.run(_measure(arguments.only or BY_DEFAULT, options))
    except StackFailed as error:
        print(f"python -m bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if arguments.json:
        arguments.json.write_text(json.dumps({name: report.raw for name, report in reports.items()}, indent=1))
    return 1 if any(report.failures for report in reports.values()) else 0


def _compare(comparing: Coroutine[Any, Any, tuple[Report, int]], json_file: Path | None) -> int:
    report, code = asyncio.run(comparing)
    print(report.text(), flush=True)
    if json_file:
        json_file.write_text(json.dumps(report.raw, indent=1))
    return code


def _sizes(arguments: argparse.Namespace) -> Sizes:
    return Sizes(arguments.requests, arguments.streams, arguments.first_tokens)


async def _measure(names: list[str], options: Options) -> dict[str, Report]:
    reports = {}
    for name in names:
        reports[name] = await MEASURES[name](options)
        print(reports[name].text(), flush=True)
    return reports


async def _machine() -> str:
    """Describe the machine. Other load on it makes latency and tokens/s worse, CPU time less so."""
    measured = await cpu_while_idle({"bench": [os.getpid()]}, _LOOK_S)
    busy, steal = measured["machine_busy"], measured["machine_steal"]
    message = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}. "
    message += f"Before the bench: {busy:.0%} busy, {steal:.1%} stolen."
    # CPU time is counted by process, so that others hardly change it.
    if busy + steal > _QUIET:
        message += "\nOthers use this machine now: only the CPU times are worth comparing, not latency and speed."
    return message + "\n"


def _allow_many_files() -> None:
    """Raise the limit of open files, also for the stack's processes: a stream needs several connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "what", nargs="?", choices=["peers"], help="compare with other gateways, installed where needed"
    )
    parser.add_argument("--peer", choices=PEERS, action="append", help="this peer; may be given several times")
    parser.add_argument("--only", choices=MEASURES, action="append", help="this measure; may be given several times")
    parser.add_argument("--rounds", type=_positive, default=5, help="how often each load is run (default 5)")
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured there, too")
    parser.add_argument("--against", metavar="REV", help="compare this tree with another commit, in turn")
    for name, default in (
        ("requests", Sizes.requests),
        ("streams", Sizes.streams),
        ("first-tokens", Sizes.first_tokens),
    ):
        parser.add_argument(
            f"--{name}", type=_positive, default=default, help=f"a round of a comparison (default {default})"
        )
    parser.add_argument(
        "--serve", action="store_true", help="only start the stack, say where it is, and wait: to profile"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
