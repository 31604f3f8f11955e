"""Quality of rankings: recall among the first five, reciprocal rank of the first hit, and how sure that is. Pure."""

from __future__ import annotations

import random
from statistics import fmean
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

AMONG: Final = 5
RESAMPLES: Final = 2_000
_SEED: Final = 14
"""Any will do; the same one makes the same intervals."""


class Mean(NamedTuple):
    """A mean, and between which values 95 of 100 such samples' means are expected."""

    value: float
    low: float
    high: float


def recall(ranking: Sequence[str], right: Collection[str]) -> float:
    """Return which part of the right chunks is among the first `AMONG`; of more than so many, which part of those."""
    return len(set(ranking[:AMONG]) & set(right)) / min(AMONG, len(right))


def reciprocal_rank(ranking: Sequence[str], right: Collection[str]) -> float:
    """Return 1 divided by the place of the first right chunk; 0 where there is none."""
    return next((1 / place for place, each in enumerate(ranking, 1) if each in right), 0.0)


def mean_of(values: Sequence[float]) -> Mean:
    """Return the mean of a sample, with the interval by bootstrap: of the means of samples drawn from it."""
    draw = random.Random(_SEED)
    means = sorted(fmean(draw.choices(values, k=len(values))) for _ in range(RESAMPLES))
    tail = RESAMPLES // 40  # 2.5 % at either end
    return Mean(fmean(values), means[tail], means[-tail - 1])
