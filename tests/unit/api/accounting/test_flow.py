"""What comes into a queue, from looks at it."""

from __future__ import annotations

import pytest

from api.accounting import flow
from api.accounting.flow import Flow


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which a test sets."""
    now = [0.0]
    monkeypatch.setattr(flow.time, "monotonic", lambda: now[0])
    return now


def test_a_queue_that_only_gets_shorter_has_nothing_coming(at: list[float]) -> None:
    """Four of its jobs end at once every six seconds: between most looks nothing changes, and still nothing comes."""
    looks = Flow()
    said = []
    for second in range(90):
        at[0] = second
        said.append(looks.into("q", 400 - 4 * (second // 6), 40.0))
    assert said[0] is None
    assert max(each for each in said[60:] if each is not None) <= 4.0, "a burst more or less of the last minute"


def test_a_queue_that_keeps_its_length_has_as_many_coming_as_going(at: list[float]) -> None:
    """However often somebody looks."""
    looks = Flow()
    for tenth in range(100):
        at[0] = tenth / 10
        said = looks.into("q", 5, 30.0)
    assert said == 30.0


def test_a_look_that_is_long_ago_says_nothing_of_now(at: list[float]) -> None:
    """As at the first."""
    looks = Flow()
    looks.into("q", 900, 0.0)
    at[0] = 600.0
    assert looks.into("q", 0, 0.0) is None
