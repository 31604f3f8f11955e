"""A day of requests, made up from a seed: programs of different sizes and habits, an evening peak, bursts."""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

DAY_S: Final = 86_400
_MINUTES: Final = 1440
_LONGEST_PROMPT: Final = 6_000
_LONGEST_OUTPUT: Final = 2_000


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The workload of a day.

    Args:
        seed: of everything that is left to chance.
        requests: in the whole day.
        programs: how many, each with a key of its own.
        bursts: how often a program sends many requests at once.
        burst_share: of all requests, those that come in bursts.
        burst_s: how long a burst lasts, in seconds.
        prompt_median: of the prompts' tokens, log-normal.
        output_median: of the answers' tokens, log-normal.
        between: how much programs differ in their medians, the standard deviation of the logarithm.
        within: how much the requests of one program differ, the same.
    """

    seed: int = 1
    requests: int = 20_000
    programs: int = 20
    bursts: int = 24
    burst_share: float = 0.2
    burst_s: float = 60.0
    prompt_median: float = 600.0
    output_median: float = 250.0
    between: float = 0.5
    within: float = 0.6


@dataclass(frozen=True)
class Request:
    """One request.

    Args:
        number: its place in the day.
        program: who sends it.
        arrived_ms: milliseconds since the day began.
        prompt_tokens: how long its prompt is.
        output_tokens: how long its answer will be, which nobody but the all-knowing router knows before.
    """

    number: int
    program: int
    arrived_ms: int
    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class _Program:
    weight: float
    prompt_median: float
    output_median: float


def requests_of(load: Workload) -> list[Request]:
    """Return the requests of a day, in the order in which they come."""
    chance = random.Random(load.seed)
    programs = [_program(load, place, chance) for place in range(load.programs)]
    weights = [program.weight for program in programs]
    moments = _moments(load, weights, chance)
    return [
        Request(
            number,
            program,
            int(moment_s * 1000),
            _size(programs[program].prompt_median, load.within, _LONGEST_PROMPT, chance),
            _size(programs[program].output_median, load.within, _LONGEST_OUTPUT, chance),
        )
        for number, (moment_s, program) in enumerate(sorted(moments))
    ]


def _program(load: Workload, place: int, chance: random.Random) -> _Program:
    """Return the program at a place of the ranking; the busiest sends most: weights as 1, 1/2, 1/3, ..."""
    return _Program(
        1 / (place + 1),
        load.prompt_median * chance.lognormvariate(0, load.between),
        load.output_median * chance.lognormvariate(0, load.between),
    )


def _moments(load: Workload, weights: list[float], chance: random.Random) -> list[tuple[float, int]]:
    """Return the moments at which the requests come, in seconds, and from which program."""
    curve = list(accumulate(_busyness(minute / 60) for minute in range(_MINUTES)))

    def moment() -> float:
        # The curve is added up, so a place on it is a minute with the curve's probability.
        minute = bisect_left(curve, chance.random() * curve[-1])
        return 60 * (minute + chance.random())

    in_bursts = round(load.requests * load.burst_share) if load.bursts else 0
    found = [
        (moment(), program) for program in chance.choices(range(len(weights)), weights, k=load.requests - in_bursts)
    ]
    for burst in range(load.bursts):
        # The remainder goes to the first ones, so that the sum is exact.
        size = in_bursts // load.bursts + (burst < in_bursts % load.bursts)
        began = min(moment(), DAY_S - load.burst_s - 1)
        program = chance.randrange(len(weights))
        found += [(began + chance.random() * load.burst_s, program) for _ in range(size)]
    return found


def _busyness(hour: float) -> float:
    """Return the daily curve at an hour: little at night, a working day, a peak in the evening."""
    day = 0.6 * math.exp(-(((hour - 13) / 4) ** 2))
    evening = math.exp(-(((hour - 20) / 1.5) ** 2))
    return 0.1 + day + evening


def _size(median: float, spread: float, most: int, chance: random.Random) -> int:
    return max(1, min(most, round(median * chance.lognormvariate(0, spread))))
