"""Several rankings of the same things -> one, by reciprocal rank. Pure.

Source: Cormack, Clarke, Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods"
(SIGIR 2009): a thing's score is the sum of 1 / (k + its rank) over the rankings that have it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

K: Final = 10
"""Measured (docs/knowledge.md); 60, the customary one, is a little worse."""


def fused(rankings: Iterable[tuple[float, Sequence[str]]], k: int = K) -> list[str]:
    """Return the ids of all rankings, the best first; the order is always the same.

    Args:
        rankings: each with its weight.
        k: how little the first places count more than those behind them.
    """
    scores: dict[str, float] = {}
    for weight, ranking in rankings:
        for rank, each in enumerate(ranking, 1):
            scores[each] = scores.get(each, 0.0) + weight / (k + rank)
    return sorted(scores, key=lambda each: (-scores[each], each))
