"""Reading the knowledge base without the internal token: nSelf's command line sends none.

Only what the gateway brings itself, which is public, and only from this machine: not for what another server or a page
in a browser passes on.
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Final

from api.admission.auth import INTERNAL_HEADERS

if TYPE_CHECKING:
    from collections.abc import Iterable

_FORWARDED: Final = ("forwarded", "x-real-ip", "via", "origin")


def is_local_reader(peer: str | None, header_names: Iterable[str]) -> bool:
    """Return whether a request without a token is from this machine itself.

    Args:
        peer: the address that it came from.
        header_names: of all its headers.
    """
    names = {name.lower() for name in header_names}
    if names & {*_FORWARDED, *INTERNAL_HEADERS} or any(name.startswith("x-forwarded-") for name in names):
        return False
    try:
        address = ip_address(peer or "")
    except ValueError:
        return False
    # A listener of IPv6 names clients of IPv4 so (RFC 4291, 2.5.5.2).
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback
