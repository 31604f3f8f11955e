"""The extra cost of Ollama's wire format over OpenAI's: the same token loads over both."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bench.costs import BURST, CHAT, warm_up
from bench.load import Spread, run
from bench.report import Report, machine_line, table
from bench.stack import running

if TYPE_CHECKING:
    from bench.load import Load, Run
    from bench.report import Options

_NAMES = {"256 tokens at 5 ms, 50 at once": CHAT, "64 tokens without delay, 32 at once": BURST}


async def wires(options: Options) -> Report:
    """Measure the CPU per token over both wire formats, interleaved."""
    report = Report("Wire formats: CPU per token by the upstream's API (us)")
    runs: dict[Load, list[Run]] = {}
    for load in _NAMES.values():
        runs |= {load: [], _over_ollama(load): []}
    async with running() as stack:
        await warm_up(stack, *runs)
        for _ in range(options.rounds):
            # In turn, so that a slow minute of the machine meets both formats.
            for load, found in runs.items():
                url = f"{stack.apis[0]}/v1/chat/completions"
                found.append(await run(load, url, key=stack.key, groups=stack.groups))
    every = [one for found in runs.values() for one in found]
    report.check(*every)
    report.raw = {load.model: [{**one.reply, "cpu_s": one.cpu_s} for one in found] for load, found in runs.items()}
    if not report.failures:
        rows = []
        for name, load in _NAMES.items():
            openai, ollama = _per_token(runs[load]), _per_token(runs[_over_ollama(load)])
            rows.append((name, openai.text(1), ollama.text(1), f"{ollama.middle - openai.middle:+.1f}"))
        report.lines = table(("", "OpenAI", "Ollama", "difference"), rows)
        report.lines += [
            "The OpenAI mock sends about 210 bytes a token, the Ollama one about 130.",
            machine_line(every),
        ]
    return report


def _over_ollama(load: Load) -> Load:
    return replace(load, model=load.model.replace("mock", "ollama"))


def _per_token(runs: list[Run]) -> Spread:
    return Spread.of(1e6 * sum(one.cpu_per(one.reply["tokens"]).values()) for one in runs)
