"""workers/providers/images/fetch.py: which addresses and URLs are fetched at all."""

from __future__ import annotations

import asyncio
import ipaddress
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from shared.errors import InvalidRequest
from shared.openai.messages import ImagePart, ImageUrl, Message, UserMessage
from workers.providers.images import remote
from workers.providers.images.addresses import LOOKUPS_OF_CALLER, Lookups, is_foreign, is_public
from workers.providers.images.fetch import ImageFetcher
from workers.providers.images.remote import CODE

PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "172.32.0.1",
    "100.128.0.1",
    "192.0.1.1",
    "223.255.255.255",
    "2606:4700::1111",
    "2a00::1",
]
CLOSED = [
    # private, shared, loopback, link-local with the clouds' metadata, documentation, benchmarks
    "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1",
    "127.255.255.255", "169.254.169.254", "169.254.0.1", "192.0.0.1", "192.0.0.192", "192.0.2.1", "198.18.0.1",
    "198.19.255.255", "198.51.100.1", "203.0.113.1", "192.88.99.1", "168.63.129.16",
    # unspecified, "this network", multicast, reserved, broadcast
    "0.0.0.0",  # noqa: S104 -- nothing is bound
    "0.1.2.3", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    # the same in IPv6, and what is not on the internet at all
    "::", "::1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd00:ec2::254", "fd20:ce::254", "ff02::1",
    "2001:db8::1", "3fff::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:10::1", "100::1", "4000::1",
    "64:ff9b:1::1",
    # IPv4 inside IPv6: mapped, compatible, translated, 6to4, NAT64
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1", "::127.0.0.1", "::ffff:0:127.0.0.1",
    "2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:a00:1::1", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe",
]  # fmt: skip
URLS = [
    "", "image.png", "//example.org/a", "file:///etc/passwd", "ftp://example.org/a", "gopher://example.org/",
    "data:,x", "http://", "http:///a", "https://user:secret@example.org/a", "http://user@example.org/", "http://[::1",
    "http://a b/", "http://example.org:0/",
    "http://example.org:99999/", "http://example.org/\x00", "http://example.org/" + "a" * 9000, "HTTP:example.org",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_fetched_from(address: str) -> None:
    """Also right beside the closed ranges."""
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["::ffff:8.8.8.8", "2002:808:808::1", "64:ff9b::8.8.8.8"])
def test_a_public_address_inside_another_is_public(address: str) -> None:
    """Networks without IPv4 reach it so."""
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", CLOSED)
def test_all_other_addresses_are_closed(address: str) -> None:
    """In every form that an operating system would follow."""
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("url", URLS)
async def test_urls_of_other_kinds_are_refused_before_anything_is_resolved(url: str) -> None:
    """Nothing but http(s) with a host and without a password."""
    asked: list[str] = []

    async def never(host: str, _: int) -> Sequence[str]:
        asked.append(host)
        return ["8.8.8.8"]

    fetcher = ImageFetcher(resolve=never, is_allowed=lambda _: False)
    with pytest.raises(InvalidRequest) as caught:
        await fetcher.fetch(url)
    await fetcher.close()
    assert (asked, caught.value.code) == ([], CODE)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "0x7f.1", "2130706433", "017700000001", "[::1]", "[::ffff:7f00:1]", "localhost", "0"]
)
async def test_every_spelling_of_this_machine_is_refused(host: str) -> None:
    """What the system makes of a name is checked, not the name."""
    fetcher = ImageFetcher()
    with pytest.raises(InvalidRequest) as caught:
        await fetcher.fetch(f"http://{host}:1/")
    await fetcher.close()
    assert "public" in caught.value.message


@pytest.mark.parametrize("found", [[], ["8.8.8.8", "10.0.0.1"], ["10.0.0.1", "8.8.8.8"], ["nonsense"]])
async def test_one_closed_address_spoils_a_host(found: list[str]) -> None:
    """No honest host has a public and a private address."""

    async def answers(_: str, __: int) -> Sequence[str]:
        return found

    fetcher = ImageFetcher(resolve=answers)
    with pytest.raises(InvalidRequest, match="public"):
        await fetcher.fetch("http://images.test:1/")
    await fetcher.close()


async def test_a_host_that_does_not_exist_is_reported_as_one_that_is_closed() -> None:
    """Nobody learns which names exist inside."""

    async def fails(_: str, __: int) -> Sequence[str]:
        raise OSError("no such name")

    fetcher = ImageFetcher(resolve=fails)
    with pytest.raises(InvalidRequest, match="public"):
        await fetcher.fetch("http://images.test/")
    await fetcher.close()


async def test_the_system_resolves_each_address_once() -> None:
    """A literal is its own address."""
    assert await Lookups().addresses("127.0.0.1", 80, "k") == ["127.0.0.1"]


async def test_slow_names_hold_up_only_the_caller_that_named_them() -> None:
    """Also after it has given up waiting: its lookups go on in their threads, and count; nothing else uses those."""
    go_on = threading.Event()

    def lookup(host: str, port: int) -> list[str]:
        del port
        if host == "slow.example":
            go_on.wait(60)
        return ["93.184.216.34"]

    lookups = Lookups(lookup)
    slow = [asyncio.create_task(lookups.addresses("slow.example", 80, "hostile")) for _ in range(3 * LOOKUPS_OF_CALLER)]
    await asyncio.sleep(0)
    for task in slow[:2]:
        task.cancel()
    assert await lookups.addresses("fast.example", 80, "other") == ["93.184.216.34"]
    assert await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80), "nor the threads of the event loop"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await lookups.addresses("fast.example", 80, "hostile")
    go_on.set()
    await asyncio.gather(*slow[2:])
    assert await lookups.addresses("fast.example", 80, "hostile") == ["93.184.216.34"]


async def test_a_name_that_is_not_there_is_an_error_and_leaves_no_place_behind() -> None:
    """However often."""

    def lookup(host: str, port: int) -> list[str]:
        raise OSError(host, port)

    lookups = Lookups(lookup)
    for _ in range(2 * LOOKUPS_OF_CALLER):
        with pytest.raises(OSError, match="nowhere"):
            await lookups.addresses("nowhere", 80, "k")
    assert not lookups._of_caller


def test_an_address_of_this_machine_is_not_foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it is a public one; a socket can be bound to it."""
    ours = ipaddress.ip_address("8.8.8.8")
    assert is_foreign(ours)
    monkeypatch.setattr("workers.providers.images.addresses._can_bind", lambda address, _: address == str(ours))
    assert not is_foreign(ours)
    monkeypatch.setattr("workers.providers.images.addresses._can_bind", lambda *_: True)
    assert is_foreign(ours), "where any address can be bound to, that says nothing"


@pytest.mark.parametrize(
    "written", ["93.184.216.34", "::ffff:93.184.216.34", "64:ff9b::5db8:d822", "2002:5db8:d822::1"]
)
async def test_the_name_that_the_gateway_is_reached_by_leads_nowhere(written: str) -> None:
    """By whatever other name its address is given, and whoever has that address: a router, perhaps."""

    async def names(host: str, port: int) -> list[str]:
        del port
        return ["93.184.216.34" if host == "claw.example.com" else written]

    fetcher = ImageFetcher(resolve=names, own_host="claw.example.com")
    with pytest.raises(InvalidRequest, match="not one of a public") as caught:
        await fetcher.fetch("http://93.184.216.34.nip.example/latest")
    assert caught.value.code == CODE
    await fetcher.close()


async def test_images_are_fetched_only_as_long_as_their_sum_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes after is not asked for."""
    monkeypatch.setattr(remote, "MAX_REMOTE_BYTES", 100)
    asked: list[str] = []

    async def fetch(url: str) -> tuple[str, bytes]:
        asked.append(url)
        return "image/png", bytes(60)

    with pytest.raises(InvalidRequest, match="too large together"):
        await remote.fetch_images(showing(16), fetch)
    assert len(asked) <= remote.FETCHES_AT_ONCE + 1


async def test_all_images_of_a_request_share_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first that is not there by then is named, and no fetch goes on."""
    monkeypatch.setattr(remote, "ALL_IMAGES_S", 0.05)
    begun = ended = 0

    async def fetch(url: str) -> tuple[str, bytes]:
        nonlocal begun, ended
        if url.endswith("/0"):
            return "image/png", b"x"
        begun += 1
        try:
            await asyncio.Event().wait()
        finally:
            ended += 1
        raise AssertionError

    with pytest.raises(InvalidRequest) as caught:
        await remote.fetch_images(showing(6), fetch)
    assert caught.value.param == "messages[0].content[1].image_url.url"
    assert ended == begun > 0


def showing(images: int) -> list[Message]:
    """Return a conversation with so many images by address."""
    parts: list[Any] = [ImagePart(ImageUrl(f"https://example.com/{number}")) for number in range(images)]
    return [UserMessage(parts)]
