"""What a lane says of how long its attempts take."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from workers.lane import NEWEST_WEIGHT, Lane

if TYPE_CHECKING:
    from workers.accounts import Accounts
    from workers.lane import ModelSource


def lane() -> Lane:
    """One whose accounts are never used up."""
    accounts = SimpleNamespace(all=["one"], closed_ms=dict)
    return Lane(
        "local", cast("ModelSource", SimpleNamespace(name="openai")), "h", 4, accounts=cast("Accounts", accounts)
    )


def test_the_first_attempt_is_taken_as_it_was_and_later_ones_count_little() -> None:
    """In ms an attempt and ms a token, with two digits; nothing before."""
    one = lane()
    assert (one.info().service_ms, one.info().ms_per_token) == (0, 0.0)
    one.took(2000, 100)
    assert (one.info().service_ms, one.info().ms_per_token) == (2000, 20.0)
    one.took(12_000, 200)
    assert one.info().service_ms == 2000 + NEWEST_WEIGHT * 10_000
    assert one.info().ms_per_token == 27.0, "3,000 ms for 110 tokens"


def test_an_attempt_that_reached_nobody_says_nothing_of_its_host() -> None:
    """One without tokens, as for embeddings, has a time all the same."""
    one = lane()
    one.took(None, 0)
    assert one.info().service_ms == 0
    one.took(300, 0)
    assert (one.info().service_ms, one.info().ms_per_token) == (300, 0.0)
