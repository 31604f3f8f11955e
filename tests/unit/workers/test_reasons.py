"""What an upstream said of a failure, as it may stand in a log."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import MOST_REASON_CHARS, Unavailable
from workers.reasons import masked, reason_of

_ANYTHING = st.text(max_size=700)


@given(before=_ANYTHING, after=_ANYTHING, secret=st.text(min_size=12, max_size=200))
def test_a_known_secret_never_stands_in_a_reason(before: str, after: str, secret: str) -> None:
    """Whatever it looks like and wherever it stands: nothing is left to cut it in two or to hide it."""
    shown = masked(f"{before}{secret}{after}", [secret])
    assert secret not in shown
    assert len(shown) <= MOST_REASON_CHARS
    assert shown.isprintable() or not set(shown) & set("\r\n\t\x1b\u2028")


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: sk-proj-0123456789abcdef.",
        "header Authorization: Bearer 0123456789.abc was refused",
        "GET https://host/v1beta?key=AIzaSyA0123456789abcdefghijklmn failed",
        "no access with AIzaSyA0123456789abcdefghijklmn",
        "cannot reach redis://user:0123456789abcdef@host:1",
        '{"api_key": "0123456789abcdef"}',
    ],
)
def test_what_looks_like_a_secret_is_masked(text: str) -> None:
    """An upstream may quote one that this process never knew."""
    shown = masked(text)
    assert "***" in shown
    assert "0123456789" not in shown


def test_a_reason_says_what_it_said() -> None:
    """On one line."""
    assert masked(" CUDA out of memory\n on gpu 3\t") == "CUDA out of memory on gpu 3"


class _RefusedError(Exception):
    reason = "CUDA out of memory"


def test_a_reason_need_not_be_passed_on() -> None:
    """What a provider raises in the place of a refusal has its reason, `from None` or not."""

    def provider(*, is_hidden: bool) -> None:
        try:
            raise _RefusedError
        except _RefusedError as refusal:
            if is_hidden:
                raise Unavailable("It failed.") from None
            raise Unavailable("It failed.") from refusal

    for is_hidden in (True, False):
        with pytest.raises(Unavailable) as raised:
            provider(is_hidden=is_hidden)
        assert reason_of(raised.value) == "CUDA out of memory"


def test_the_network_is_a_reason() -> None:
    """Where nobody said anything."""
    failure = Unavailable("It cannot be reached.")
    failure.__cause__ = httpx.ConnectError("Cannot connect to host gpu-box:8080")
    assert reason_of(failure) == "Cannot connect to host gpu-box:8080"
    assert not reason_of(Unavailable("It failed."))
