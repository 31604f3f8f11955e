"""Without a token the knowledge base is read from this machine alone."""

from __future__ import annotations

import pytest

from api.endpoints.knowledge.access import is_local_reader

PLAIN = ("host", "user-agent", "accept")


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_the_machine_itself_may_read(peer: str) -> None:
    """By each of its own addresses."""
    assert is_local_reader(peer, PLAIN)


@pytest.mark.parametrize("peer", ["10.0.0.1", "::ffff:10.0.0.1", "fe80::1", "", "localhost", None, "<local>"])
def test_others_may_not(peer: str | None) -> None:
    """Nor what has no address."""
    assert not is_local_reader(peer, PLAIN)


@pytest.mark.parametrize(
    "name",
    [
        "X-Forwarded-For", "x-forwarded-host", "X-Forwarded-Whatever", "Forwarded", "X-Real-IP", "Via", "Origin",
        "x-internal-token", "X-Internal-Secret",
    ],
)  # fmt: skip
def test_what_was_passed_on_may_not(name: str) -> None:
    """By a proxy or a browser; nor what has a token that is wrong."""
    assert not is_local_reader("127.0.0.1", (*PLAIN, name))
