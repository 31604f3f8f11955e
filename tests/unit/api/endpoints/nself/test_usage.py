"""The sums of nSelf's command line."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.endpoints.nself.usage import PERIODS, Used, first_day, saved_usd
from shared.models.catalogue import default_catalogue
from shared.types import Tier


@given(st.dates(min_value=date(2000, 1, 1)), st.sampled_from(PERIODS))
def test_a_period_ends_today(today: date, period: str) -> None:
    """A week has seven days, a month begins with its first."""
    first = first_day(period, today)
    days = None if first is None else (today - first).days + 1
    assert days == {"today": 1, "week": 7, "month": today.day, "all": None}[period]


@pytest.mark.parametrize("tier", ["local", "gemini", "paid"])
def test_only_free_answers_save_something(tier: Tier) -> None:
    """As much as a million tokens each way would have cost."""
    used = Used(tier, "m", 1, 1_000_000, 1_000_000, 0.0, 0)
    assert (saved_usd([used], default_catalogue()) > 0) is (tier != "paid")
