"""What is believed of proxies, and of nobody else."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.server.proxies import TrustedProxies
from api.server.scope import PREFIX

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("127.0.0.1"), ip_network("fd00::/8"))


async def _seen(peer: str, **headers: str) -> dict[str, Any]:
    """Return the scope that the app gets of a request with these headers."""
    seen: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        del receive, send
        seen.update(scope)

    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "client": (peer, 5000), "scheme": "http", "headers": fields}
    await TrustedProxies(app, TRUSTED)(scope, None, None)
    return seen


async def test_what_a_stranger_says_changes_nothing() -> None:
    """Address, scheme and path stay as the connection has them."""
    seen = await _seen(
        "203.0.113.9", x_forwarded_for="1.1.1.1", x_forwarded_proto="https", x_forwarded_prefix="/gateway"
    )
    assert (seen["client"][0], seen["scheme"], PREFIX in seen) == ("203.0.113.9", "http", False)


async def test_a_trusted_proxy_is_believed() -> None:
    """In all three."""
    seen = await _seen(
        "127.0.0.1", x_forwarded_for="1.1.1.1", x_forwarded_proto="https", x_forwarded_prefix="/gateway/"
    )
    assert (seen["client"][0], seen["scheme"], seen[PREFIX]) == ("1.1.1.1", "https", "/gateway")


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        ("6.6.6.6, 203.0.113.9", "203.0.113.9"),  # the first is what the client itself sent
        ("6.6.6.6, 203.0.113.9, 10.1.1.1", "203.0.113.9"),
        ("203.0.113.9, nonsense, 10.1.1.1", "10.1.1.1"),
        ("10.1.1.1", "10.1.1.1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("", "127.0.0.1"),
        ("nonsense", "127.0.0.1"),
    ],
)
async def test_of_a_chain_the_last_stranger_is_the_client(chain: str, client: str) -> None:
    """What stands before it may be made up."""
    assert (await _seen("127.0.0.1", x_forwarded_for=chain))["client"][0] == client


async def test_an_address_of_ipv4_in_ipv6_is_the_same_address() -> None:
    """A socket that listens for both has its peers so."""
    assert (await _seen("::ffff:127.0.0.1", x_real_ip="1.1.1.1"))["client"][0] == "1.1.1.1"


@given(prefix=st.text(st.sampled_from("/.a-\\ \"'<:?#%\r\n")))
async def test_a_prefix_is_plain_segments_or_nothing(prefix: str) -> None:
    """It stands in links and redirects: never a host of its own, a quote, or a way up."""
    found = (await _seen("10.9.9.9", x_forwarded_prefix=prefix)).get(PREFIX)
    if found is not None:
        assert found.startswith("/")
        assert not found.startswith("//")
        assert set(found) <= set("/.a-")
        assert not {"..", "."} & set(found.split("/"))
