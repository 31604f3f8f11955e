"""Addresses from which an image may be fetched, and their lookup.

Sources: IANA's IPv4 and IPv6 Special-Purpose Address Registries; RFC 4291 (mapped addresses), RFC 3056 (6to4), RFC 6052
and RFC 8215 (NAT64), RFC 4380 (Teredo). The lists are our own, since Python's `is_global` differs from one patch
release to the next.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

LOOKUPS: Final = 16
"""Of one process at a time: a name server that does not answer holds a thread for up to a minute."""
LOOKUPS_OF_CALLER: Final = 4

_CLOSED_V4: Final = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/3",
        "168.63.129.16/32",  # Azure's metadata and health service, a public address that is not one
    )
)  # fmt: skip
_OPEN_V6: Final = ipaddress.IPv6Network("2000::/3")  # all that IANA gives out as global unicast
_CLOSED_V6: Final = tuple(
    ipaddress.IPv6Network(network)
    # Protocol assignments (Teredo, ORCHID, benchmarks), documentation.
    for network in ("2001::/23", "2001:db8::/32", "3fff::/20")
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_ELSEWHERE: Final = {4: "192.0.2.1", 6: "2001:db8::1"}
"""Addresses for documentation, which no machine has."""


def is_public(address: Address) -> bool:
    """Return whether an address belongs to the public internet.

    Not so are private, loopback, link-local, shared, multicast, reserved and documentation addresses and those of a
    cloud's metadata, also where an IPv6 address holds such an IPv4 one.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _CLOSED_V4)
    embedded = _embedded(address)
    if embedded is not None:
        return is_public(embedded)
    return address in _OPEN_V6 and not any(address in network for network in _CLOSED_V6)


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that packets to a mapped, 6to4 or NAT64 address end at."""
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def destination_of(address: Address) -> Address:
    """Return the address that packets end at: the IPv4 one where an IPv6 address holds such."""
    embedded = _embedded(address) if isinstance(address, ipaddress.IPv6Address) else None
    return embedded or address


def is_foreign(address: Address) -> bool:
    """Return whether an address belongs to the public internet, and not to this machine."""
    return is_public(address) and not _is_own(destination_of(address))


def _is_own(address: Address) -> bool:
    """Return whether this machine has an address: only then a socket can be bound to it.

    Where the system lets sockets be bound to any address (`ip_nonlocal_bind`), this says nothing.
    """
    return _can_bind(str(address), address.version) and not _can_bind(_ELSEWHERE[address.version], address.version)


def _can_bind(address: str, version: int) -> bool:
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((address, 0))
        return True
    return False


class Lookups:
    """Looks hosts up as the system does, in threads of its own: names that are slow hold up nothing but images.

    Args:
        lookup: the system's own, or a test's.
    """

    def __init__(self, lookup: Callable[[str, int], Sequence[str]] | None = None) -> None:
        self._lookup = lookup or _system_lookup
        self._room = asyncio.Semaphore(LOOKUPS)
        self._room_of: dict[str, asyncio.Semaphore] = {}
        self._of_caller: Counter[str] = Counter()

    async def addresses(self, host: str, port: int, caller: str) -> Sequence[str]:
        """Return the addresses of a host, in turn where the caller looks up several.

        A lookup that nobody waits for any more goes on in its thread, and counts until it ends.

        Raises:
            OSError: it has none.
        """
        own_room = self._room_of.setdefault(caller, asyncio.Semaphore(LOOKUPS_OF_CALLER))
        self._of_caller[caller] += 1
        held: list[asyncio.Semaphore] = []

        def end() -> None:
            for room in held:
                room.release()
            self._of_caller[caller] -= 1
            if not self._of_caller[caller]:
                del self._of_caller[caller], self._room_of[caller]

        try:
            # The caller's own first: who waits for that must not hold one of everybody's.
            for room in (own_room, self._room):
                await room.acquire()
                held.append(room)
            found = self._start(host, port)
        except BaseException:
            end()
            raise
        found.add_done_callback(lambda _: end())
        return await asyncio.shield(found)

    def _start(self, host: str, port: int) -> asyncio.Future[Sequence[str]]:
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Sequence[str]] = loop.create_future()
        found.add_done_callback(asyncio.Future.exception)  # seen also where nobody waits any more

        def look_up() -> None:
            try:
                answer = partial(found.set_result, self._lookup(host, port))
            except Exception as error:  # noqa: BLE001 -- whatever it is, it belongs to who waits
                answer = partial(found.set_exception, error)
            with suppress(RuntimeError):  # the loop is closed: the process ends
                loop.call_soon_threadsafe(answer)

        # A daemon, since the process must not wait for a name server when it ends.
        threading.Thread(target=look_up, name="image-lookup", daemon=True).start()
        return found


def _system_lookup(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
