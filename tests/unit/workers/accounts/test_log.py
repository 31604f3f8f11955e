"""What the log says of accounts: what is new, and once."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, cast

import pytest

from shared.errors import Unavailable
from workers.accounts.account import Account
from workers.accounts.log import AccountLog

if TYPE_CHECKING:
    from workers.accounts.outcome import Kind
    from workers.providers.base import Provider

CODE = Unavailable("", code="code")
QUEUE = "arq:queue:gemini:gemini"


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Return everything that an operator sees."""
    caplog.set_level(logging.INFO)
    return caplog


def account() -> Account:
    """Return an account that has a name."""
    return Account("0f3a", cast("Provider", None), fingerprint="", name="one@example.com")


def in_ms(seconds: float) -> int:
    """Return a moment in so many seconds."""
    return int((time.time() + seconds) * 1000)


@pytest.mark.parametrize(
    ("kind", "level"), [("rejected", logging.ERROR), ("failed", logging.WARNING), ("throttled", logging.INFO)]
)
def test_a_state_is_reported_once_by_the_name_that_the_operator_knows(
    said: pytest.LogCaptureFixture, kind: Kind, level: int
) -> None:
    """As urgent as it is; a breaker that is tried again and again is no news, nor is one that is closed."""
    log = AccountLog(QUEUE)
    for seconds in (-1e12, 5, 10, 20, 40, 60, 60, 120, 180):
        log.cooling_down(account(), "m", kind, max(0, in_ms(seconds)), CODE, is_alone=False)
    (record,) = said.records
    assert record.levelno == level
    assert "one@example.com (0f3a)" in record.message


def test_an_end_that_is_much_later_is_news(said: pytest.LogCaptureFixture) -> None:
    """A minute's quota first, the day's then; and a refusal is another matter than a quota."""
    log = AccountLog(QUEUE)
    log.cooling_down(account(), "m", "throttled", in_ms(60), CODE, is_alone=False)
    log.cooling_down(account(), "m", "throttled", in_ms(36_000), CODE, is_alone=False)
    log.cooling_down(account(), "m", "rejected", in_ms(600), CODE, is_alone=False)
    log.closed("m", in_ms(60))
    log.closed("m", in_ms(61))
    log.closed("m", in_ms(36_000))
    assert [record.levelno for record in said.records] == [20, 20, 40, 20, 20]


def test_the_end_of_a_lone_account_is_that_of_its_backend(said: pytest.LogCaptureFixture) -> None:
    """One event, one line, until the accounts are other ones."""
    log = AccountLog(QUEUE)
    log.cooling_down(account(), "m", "failed", in_ms(5), CODE, is_alone=True)
    log.closed("m", in_ms(5))
    assert len(said.records) == 1
    log.forget([])
    log.closed("m", in_ms(5))
    log.cooling_down(account(), "m", "failed", in_ms(5), CODE, is_alone=False)
    assert len(said.records) == 2
    log.forget([account()])
    log.cooling_down(account(), "m", "failed", in_ms(5), CODE, is_alone=False)
    assert len(said.records) == 3
