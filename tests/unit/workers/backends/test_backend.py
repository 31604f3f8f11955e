"""What a backend says of how long its attempts take."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import msgspec

from shared.types import BackendInfo, LocalModel
from workers.accounts.slots import AdaptiveSlots
from workers.backends.backend import HELP_PAUSE_S, NEWEST_WEIGHT, Backend

if TYPE_CHECKING:
    import pytest

    from workers.accounts.pool import Accounts
    from workers.backends.backend import ModelSource
    from workers.backends.unsupported import UnsupportedParameters


def backend(closed_ms: dict[str, int] | None = None) -> Backend:
    """Return one whose account is closed for some models, or for none."""
    accounts = SimpleNamespace(all=["one"], closed_ms=lambda: closed_ms or {}, slots=AdaptiveSlots())
    return Backend(
        "local",
        cast("ModelSource", SimpleNamespace(name="openai")),
        "h",
        4,
        accounts=cast("Accounts", accounts),
        unsupported=cast("UnsupportedParameters", SimpleNamespace(until_ms=dict)),
    )


def test_the_first_attempt_is_taken_as_it_was_and_later_ones_count_little() -> None:
    """In ms an attempt and ms a token, with two digits; nothing before."""
    one = backend()
    assert (one.info().service_ms, one.info().ms_per_token) == (0, 0.0)
    one.took(2000, 100)
    assert (one.info().service_ms, one.info().ms_per_token) == (2000, 20.0)
    one.took(12_000, 200)
    assert one.info().service_ms == 2000 + NEWEST_WEIGHT * 10_000
    assert one.info().ms_per_token == 27.0, "3,000 ms for 110 tokens"


def test_embeddings_say_nothing_of_how_fast_answers_are() -> None:
    """However many there are."""
    one = backend()
    one.took(5000, 500)
    for _ in range(10_000):
        one.took(20, 0)
    assert (one.info().service_ms, one.info().ms_per_token) == (20, 10.0)
    json = msgspec.json.encode(one.info())
    assert msgspec.json.decode(json, type=BackendInfo) == one.info()


def test_a_backend_that_fails_or_is_closed_takes_nothing_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """One without models neither. It helps again a little after its last failure."""
    closed: dict[str, int] = {}
    one = backend(closed)
    assert not one.may_help()
    one.models = (LocalModel("m"),)
    assert one.may_help()
    closed["m"] = 1
    assert not one.may_help()
    closed.clear()
    one.failed()
    assert not one.may_help()
    later = time.monotonic() + HELP_PAUSE_S
    monkeypatch.setattr("workers.backends.backend.time", SimpleNamespace(monotonic=lambda: later))
    assert one.may_help()


def test_an_attempt_that_reached_nobody_says_nothing_of_its_host() -> None:
    """One without tokens, as for embeddings, has a time all the same."""
    one = backend()
    one.took(None, 0)
    assert one.info().service_ms == 0
    one.took(300, 0)
    assert (one.info().service_ms, one.info().ms_per_token) == (300, 0.0)
