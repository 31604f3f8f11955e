"""What comes into a queue, from looks at it."""

from __future__ import annotations

from api.accounting.arrivals import ArrivalRates


def test_a_queue_that_only_gets_shorter_has_nothing_coming() -> None:
    """Four of its jobs end at once every six seconds: between most looks nothing changes, and still nothing comes."""
    at = [0.0]
    looks = ArrivalRates(lambda: at[0])
    said = []
    for second in range(90):
        at[0] = second
        said.append(looks.per_minute("q", 400 - 4 * (second // 6), 40.0))
    assert said[0] is None
    assert max(each for each in said[60:] if each is not None) <= 4.0, "a burst more or less of the last minute"


def test_a_queue_that_keeps_its_length_has_as_many_coming_as_going() -> None:
    """However often somebody looks."""
    at = [0.0]
    looks = ArrivalRates(lambda: at[0])
    for tenth in range(100):
        at[0] = tenth / 10
        said = looks.per_minute("q", 5, 30.0)
    assert said == 30.0


def test_a_look_that_is_long_ago_says_nothing_of_now() -> None:
    """As at the first."""
    at = [0.0]
    looks = ArrivalRates(lambda: at[0])
    looks.per_minute("q", 900, 0.0)
    at[0] = 600.0
    assert looks.per_minute("q", 0, 0.0) is None
