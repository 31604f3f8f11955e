"""Usage reports as upstreams send them: any JSON, in which only what is a count counts. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_TOKENS: Final = 100_000_000
"""Far more than any model's context: a count beyond it is none."""


def read_report(raw: msgspec.Raw) -> dict[str, Any]:
    """Return the fields of a report; empty for what is no object, so that it loses no answer."""
    try:
        decoded = msgspec.json.decode(raw)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return {}
    return decoded if isinstance(decoded, dict) else {}


def later_report(before: Mapping[str, Any], raw: msgspec.Raw) -> dict[str, Any]:
    """Return a report with what a later one of the same reply says: each count is the total so far.

    Proxies that know the prompt's counts at the start or at the end alone send 0 the other time.
    """
    return _merged(before, read_report(raw))


def _merged(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(before)
    for name, value in after.items():
        known = before.get(name)
        if isinstance(known, dict) and isinstance(value, dict):
            merged[name] = _merged(known, value)
        elif value is not None and (to_count(value) != 0 or name.startswith("output") or not to_count(known)):
            merged[name] = value
    return merged


def to_count(value: object) -> int | None:
    """Return a reported count; None for what is none: truth values, negative and impossible numbers, words."""
    if isinstance(value, str) and value.isdecimal() and value.isascii():
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return int(value) if 0 <= value <= MOST_TOKENS else None


def raw_count(raw: msgspec.Raw) -> int | None:
    """Return a count that stands by itself in a reply; None for what is none."""
    return count_at(read_report(msgspec.Raw(b'{"count":%b}' % bytes(raw))), "count")


def count_at(report: Mapping[str, Any], *path: str) -> int | None:
    """Return the count at a path of field names; None where there is none."""
    found: Any = report
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return to_count(found)
