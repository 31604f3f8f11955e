"""Sessions in cookies."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.ui.sign_in.sessions import BY_PASSWORD, LIFE_S, Signer, installation_of, new_session

SIGNER = Signer("secret", "generation", b"digest")


def test_a_cookie_is_the_session_again() -> None:
    """With the same key, as every api process makes it."""
    session = new_session(BY_PASSWORD)
    assert Signer("secret", "generation", b"digest").session(SIGNER.cookie(session)) == session


@pytest.mark.parametrize(
    "other",
    [
        Signer("other", "generation", b"digest"),
        Signer("secret", "next", b"digest"),
        Signer("secret", "generation", b"new"),
    ],
)
def test_another_secret_generation_or_password_ends_every_session(other: Signer) -> None:
    """Its cookie opens nothing, its token sends nothing."""
    session = new_session(BY_PASSWORD)
    assert other.session(SIGNER.cookie(session)) is None
    assert not other.is_token(session, SIGNER.token(session))


def test_a_cookie_with_half_of_a_surrogate_pair_is_none() -> None:
    """No text of a cookie is a fault of ours."""
    assert SIGNER.session("\ud800" + SIGNER.cookie(new_session(BY_PASSWORD))[1:]) is None


@given(st.data())
def test_a_cookie_with_a_changed_character_is_none(data: st.DataObject) -> None:
    """Whichever it is."""
    cookie = SIGNER.cookie(new_session(BY_PASSWORD))
    place = data.draw(st.integers(0, len(cookie) - 2))  # of the last one some bits mean nothing
    changed = data.draw(st.characters().filter(lambda other: other != cookie[place]))
    assert SIGNER.session(cookie[:place] + changed + cookie[place + 1 :]) is None


def test_a_cookie_ends_after_a_week(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long its browser keeps it."""
    cookie = SIGNER.cookie(new_session(BY_PASSWORD))

    now = time.time()
    monkeypatch.setattr("itsdangerous.timed.time.time", lambda: now + LIFE_S + 2)
    assert SIGNER.session(cookie) is None


def test_the_token_of_one_session_is_not_anothers() -> None:
    """Nor does an empty one do."""
    one, other = new_session(), new_session()
    assert SIGNER.is_token(one, SIGNER.token(one))
    assert not SIGNER.is_token(one, SIGNER.token(other))
    assert not SIGNER.is_token(one, "")


def test_cookies_of_two_gateways_on_one_host_have_names_of_their_own() -> None:
    """Browsers keep no ports apart; processes of one installation have one name."""
    assert installation_of("secret") == installation_of("secret") != installation_of("another")
