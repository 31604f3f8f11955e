"""The order of tiers that `auto` tries, as a form has it: tiers, which of them are used, and one to move. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from api.routing.rules import DEFAULT_PRIORITIES, RuleChange
from api.routing.task_classes import TASK_CLASSES
from shared.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from werkzeug.datastructures import MultiDict

    from api.routing.rules import Rule, SourceTier

STEP: Final = 10
"""Between the priorities of two tiers."""
MOVES: Final = {"up": -1, "down": 1}
TITLES: Final = {name: name.replace("_", " ").capitalize() for name in TASK_CLASSES}
TIER_TITLES: Final = {
    "local": ("local", "Local", "your own hardware"),
    "free_gemini": ("gemini", "Gemini", "free accounts, within their quota"),
    "api_key": ("paid", "Paid", "APIs, within the budget"),
}


def ordered(rules: Iterable[Rule]) -> dict[str, list[Rule]]:
    """Return the rules of each class of tasks in the order in which they are tried."""
    rules = list(rules)
    found: dict[str, list[Rule]] = {rule.task_class: [] for rule in rules}
    places = list(DEFAULT_PRIORITIES)
    for rule in sorted(rules, key=lambda rule: (rule.priority, places.index(rule.source_tier))):
        found[rule.task_class].append(rule)
    return found


def changes_of(form: MultiDict[str, str]) -> list[RuleChange]:
    """Return the change that a form means.

    Raises:
        InvalidRequest: it is not what the page sends.
    """
    task_class, tiers = form.get("task_class", ""), form.getlist("tier")
    if task_class not in TASK_CLASSES:
        raise InvalidRequest(f"task_class must be one of {', '.join(TASK_CLASSES)}.", param="task_class")
    if sorted(tiers) != sorted(DEFAULT_PRIORITIES):
        raise InvalidRequest(f"tier must have each of {', '.join(DEFAULT_PRIORITIES)}, once.", param="tier")
    used = set(form.getlist("used"))
    return [
        RuleChange(
            task_class=task_class,
            source_tier=cast("SourceTier", tier),
            priority=STEP * place,
            enabled=tier in used,
        )
        for place, tier in enumerate(_moved(tiers, form.get("move", "")), 1)
    ]


def _moved(tiers: Sequence[str], move: str) -> list[str]:
    """Return tiers with one of them a place further up or down, as a button without script says."""
    way, _, tier = move.partition(" ")
    found = list(tiers)
    if way in MOVES and tier in found:
        at = found.index(tier)
        found.insert(max(0, at + MOVES[way]), found.pop(at))
    return found
