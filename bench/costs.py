"""The hot paths: CPU time of a request and of a token, time added to the first token, tokens/s of the chat load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.load import Load, Run, Spread, run
from bench.report import Report, machine_line, table
from bench.stack import running

if TYPE_CHECKING:
    from bench.report import Options
    from bench.stack import Stack

REQUEST: Final = Load(model="mock", at_once=32, requests=1500)
CHAT: Final = Load(model="mock-n256-d5", at_once=50, requests=200, stream=True)
BURST: Final = Load(model="mock", at_once=32, requests=800, stream=True, usage=True)
FIRST_TOKEN: Final = Load(model="mock-n8-d5", at_once=1, requests=100, stream=True)


@dataclass(frozen=True)
class Row:
    """A line of the table: what is measured, its bounds, and what others were measured at."""

    name: str
    load: Load
    unit: str
    digits: int
    must: str
    aim: str
    peers: str


ROWS: Final = (
    Row("request, not streamed, 32 at once", REQUEST, "ms CPU", 2, "2.5", "1.8", "LiteLLM 20.6, Portkey 1.84"),
    Row("token, 256 at 5 ms, 50 at once", CHAT, "us CPU", 1, "75", "45", "LiteLLM 1,270, Portkey 105, smg 41"),
    Row("token, 64 without delay, 32 at once", BURST, "us CPU", 1, "60", "40", "LiteLLM 1,675, Portkey 43"),
)
FIRST_ROW: Final = Row("added to the first token, idle", FIRST_TOKEN, "ms", 2, "5", "3", "LiteLLM 24, Portkey 29")
SPEED_ROW: Final = Row(
    "chat: tokens/s of 10,000", CHAT, "tokens/s", 0, "over 9,000", "9,700", "LiteLLM 785, Portkey 8,427"
)


@dataclass(frozen=True)
class Pair:
    """The same load straight to the upstream and through the gateway, one after the other."""

    direct: Run
    through: Run

    def cost(self, load: Load) -> dict[str, float]:
        """Return the CPU of each group: microseconds a token for streams, else milliseconds a request."""
        count, scale = ("tokens", 1e6) if load.stream else ("ok", 1e3)
        return {group: scale * part for group, part in self.through.cpu_per(self.through.reply[count]).items()}


async def measure_pair(stack: Stack, load: Load) -> Pair:
    """Run a load both ways."""
    path = "/chat/completions"
    # One right after the other, so that both meet the same machine.
    direct = await run(load, stack.openai_url + path, groups=stack.groups)
    through = await run(load, f"{stack.apis[0]}/v1{path}", key=stack.key, groups=stack.groups)
    return Pair(direct, through)


async def warm_up(stack: Stack, *loads: Load) -> None:
    """Run each load once, uncounted and short."""
    for load in loads:
        short = Load(model=load.model, at_once=load.at_once, requests=2 * load.at_once, stream=load.stream)
        for url in stack.apis:
            await run(short, f"{url}/v1/chat/completions", key=stack.key, groups=stack.groups)


async def costs(options: Options) -> Report:
    """Measure the hot paths, side by side with their baselines."""
    report = Report("Hot paths: one api, one worker, everything on (authentication, limits, queue, usage log)")
    loads = [row.load for row in (*ROWS, FIRST_ROW)]
    pairs: dict[Load, list[Pair]] = {load: [] for load in loads}
    async with running() as stack:
        await warm_up(stack, *loads)
        for _ in range(options.rounds):
            for load in loads:
                pairs[load].append(await measure_pair(stack, load))
    runs = [one for found in pairs.values() for pair in found for one in (pair.direct, pair.through)]
    report.check(*runs)
    # A reply that broke off was cheap: no figures rather than good ones.
    if not report.failures:
        report.lines += _tables(pairs)
        report.lines.append(f"Medians of {options.rounds} rounds (lowest-highest). {machine_line(runs)}")
        report.lines.append("CPU: user and system of api + worker + recorder + Valkey, PostgreSQL left out.")
        report.lines.append("Peers: measured earlier and elsewhere, storing and queueing nothing; to compare orders.")
    report.raw = {row.name: [_raw(pair) for pair in pairs[row.load]] for row in (*ROWS, FIRST_ROW)}
    return report


def _tables(pairs: dict[Load, list[Pair]]) -> list[str]:
    measured = {row: Spread.of(sum(pair.cost(row.load).values()) for pair in pairs[row.load]) for row in ROWS}
    first = pairs[FIRST_TOKEN]
    measured[FIRST_ROW] = Spread.of(
        pair.through.reply["ttft_ms"]["p50"] - pair.direct.reply["ttft_ms"]["p50"] for pair in first
    )
    measured[SPEED_ROW] = Spread.of(pair.through.reply["tokens_per_s"] for pair in pairs[CHAT])
    head = ("", "measured", "unit", "must be under", "aim", "direct", "peers (elsewhere)")
    rows = [
        (row.name, found.text(row.digits), row.unit, row.must, row.aim, _direct(row, pairs[row.load]), row.peers)
        for row, found in measured.items()
    ]
    return [*table(head, rows), "", *_breakdown(pairs), ""]


def _direct(row: Row, pairs: list[Pair]) -> str:
    """Return the baseline of the same pass, in the unit that says most."""
    if row is FIRST_ROW:
        return f"{Spread.of(pair.direct.reply['ttft_ms']['p50'] for pair in pairs).middle:.2f} ms"
    field, unit = ("tokens_per_s", "tokens/s") if row.load.stream else ("rps", "requests/s")
    return f"{Spread.of(pair.direct.reply[field] for pair in pairs).middle:,.0f} {unit}"


def _breakdown(pairs: dict[Load, list[Pair]]) -> list[str]:
    groups = ("api", "worker", "recorder", "valkey")
    rows = []
    for row in ROWS:
        parts = [pair.cost(row.load) for pair in pairs[row.load]]
        cells = [f"{Spread.of(part[group] for part in parts).middle:.{row.digits}f}" for group in groups]
        field = "tokens_per_s" if row.load.stream else "rps"
        speed = Spread.of(pair.through.reply[field] for pair in pairs[row.load]).middle
        rows.append((row.name, *cells, row.unit, f"{speed:,.0f} {'tokens' if row.load.stream else 'requests'}/s"))
    return table(("of which", *groups, "unit", "speed"), rows)


def _raw(pair: Pair) -> dict[str, object]:
    through = pair.through
    return {
        "direct": pair.direct.reply,
        "through": through.reply,
        "cpu_s": through.cpu_s,
        "machine_busy": through.busy,
        "machine_steal": through.steal,
    }
