"""workers/providers/images/fetch.py against real servers on this machine."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any

import pytest

from shared.errors import InvalidRequest
from shared.openai.messages import ImagePart, ImageUrl, UserMessage
from tests.parsed import bytes_parsed
from tests.upstreams.closing import accept_no_more
from tests.upstreams.scripted import BOUND_S
from workers.providers.http.paced import PIECE_BYTES
from workers.providers.images import remote
from workers.providers.images.addresses import Address
from workers.providers.images.fetch import ImageFetcher

IMAGE = b"\x89PNG" + bytes(range(256))
PNG = {"content-type": "image/png"}
MACHINE = ip_address("127.0.0.1")


class ImageServer:
    """Answers each request with the next of its replies.

    Attributes:
        heads: the heads of the requests.
        replies: status, headers and body; a body of None never ends.
        left: how many connections ended.
    """

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.replies: list[tuple[int, dict[str, str], bytes | None]] = []
        self.left = 0
        self.port = 0
        self._changed = asyncio.Event()

    def add(self, status: int = 200, body: bytes | None = IMAGE, **headers: str) -> None:
        """Append a reply; a header's name has `_` for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.replies.append((status, named or dict(PNG), body))

    async def until_left(self, count: int) -> None:
        """Wait until that many connections have ended."""
        async with asyncio.timeout(BOUND_S):
            while self.left < count:
                self._changed.clear()
                await self._changed.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        try:
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            status, headers, body = self.replies.pop(0)
            lines = [f"HTTP/1.1 {status} Scripted", *(f"{name}: {value}" for name, value in headers.items())]
            writer.write("\r\n".join([*lines, "", ""]).encode() + (body or b"abc"))
            await writer.drain()
            if body is None:
                await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            self.left += 1
            self._changed.set()


class Names:
    """A resolver that counts: each name has a list of answers, one for each time it is asked."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self.answers = {f"{name}.test": given for name, given in answers.items()}
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Return the next answer."""
        self.asked.append((host, port))
        return self.answers[host].pop(0)


@asynccontextmanager
async def _serving(**options: Any) -> AsyncIterator[ImageServer]:
    server = ImageServer()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, **options)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        await accept_no_more(listener)


@asynccontextmanager
async def _fetching(
    names: Names, allowed: Sequence[Address] = (MACHINE,), **options: Any
) -> AsyncIterator[ImageFetcher]:
    fetcher = ImageFetcher(resolve=names, is_allowed=lambda address: address in allowed, **options)
    try:
        yield fetcher
    finally:
        await fetcher.close()


async def _refusal(fetcher: ImageFetcher, url: str) -> str:
    with pytest.raises(InvalidRequest) as caught:
        await fetcher.fetch(url)
    assert caught.value.code == "invalid_image_url"
    return caught.value.message


async def test_an_image_comes_with_its_type() -> None:
    """The host's own name goes out as Host, though the connection goes to an address."""
    names = Names(images=[["127.0.0.1"]])
    async with _serving() as server, _fetching(names) as fetcher:
        server.add(content_type="Image/PNG; charset=binary")
        assert await fetcher(f"http://images.test:{server.port}/a.png?b=c") == ("image/png", IMAGE)
    assert server.heads[0].startswith("GET /a.png?b=c HTTP/1.1\r\n")
    assert f"\r\nhost: images.test:{server.port}\r\n" in server.heads[0].lower()
    assert "cookie" not in server.heads[0].lower()


async def test_a_name_that_changes_between_check_and_connection_is_not_followed() -> None:
    """DNS rebinding: the name is asked for once, and the address that was checked is the one connected to."""
    names = Names(images=[["127.0.0.1"], ["127.0.0.66"]])
    async with _serving() as server, _fetching(names) as fetcher:
        server.add()
        assert (await fetcher.fetch(f"http://images.test:{server.port}/"))[1] == IMAGE
        assert len(names.asked) == 1
        assert "public" in await _refusal(fetcher, f"http://images.test:{server.port}/")
    assert len(server.heads) == 1


async def test_a_redirect_is_checked_as_a_first_url_is() -> None:
    """A public server must not send us inside."""
    names = Names(images=[["127.0.0.1"]] * 2, inside=[["10.0.0.1"]])
    async with _serving() as server, _fetching(names) as fetcher:
        for target in (f"http://inside.test:{server.port}/", "file:///etc/passwd"):
            server.add(302, b"", location=target)
            assert "public" in await _refusal(fetcher, f"http://images.test:{server.port}/")
    assert len(server.heads) == 2


async def test_a_few_redirects_are_followed_and_no_more() -> None:
    """Relative or absolute; each name is resolved anew; nothing of a cookie is carried along."""
    names = Names(images=[["127.0.0.1"]] * 8)
    async with _serving() as server, _fetching(names) as fetcher:
        url = f"http://images.test:{server.port}"
        for location in ("/b", f"{url}/c", "d"):
            server.add(307, b"", location=location, set_cookie="a=b; Path=/")
        server.add()
        assert (await fetcher.fetch(f"{url}/a"))[1] == IMAGE
        assert [head.split(" ")[1] for head in server.heads] == ["/a", "/b", "/c", "/d"]
        assert len(names.asked) == 4
        assert not any("cookie" in head.lower() for head in server.heads)
        for _ in range(4):
            server.add(301, b"", location="/")
        assert "too often" in await _refusal(fetcher, url)


async def test_an_address_that_does_not_answer_gives_way_to_the_next() -> None:
    """A host may have several; all were checked."""
    names = Names(images=[["127.0.0.2", "127.0.0.1"]])
    async with _serving() as server, _fetching(names, (MACHINE, ip_address("127.0.0.2"))) as fetcher:
        server.add()
        assert (await fetcher.fetch(f"http://images.test:{server.port}/"))[1] == IMAGE


async def test_what_is_no_image_is_refused() -> None:
    """By status, by type, and where it is compressed against our wish."""
    names = Names(images=[["127.0.0.1"]] * 3)
    async with _serving() as server, _fetching(names) as fetcher:
        url = f"http://images.test:{server.port}/"
        server.add(404)
        assert "404" in await _refusal(fetcher, url)
        server.add(content_type="text/html")
        assert "not lead to an image" in await _refusal(fetcher, url)
        server.add(content_encoding="gzip", content_type="image/png")
        assert "compresses" in await _refusal(fetcher, url)


@pytest.mark.parametrize("announced", [True, False])
async def test_an_image_is_read_up_to_a_limit(announced: bool) -> None:  # noqa: FBT001 -- a case
    """Whether its length is announced or not."""
    names = Names(images=[["127.0.0.1"]] * 2)
    async with _serving() as server, _fetching(names, max_bytes=len(IMAGE)) as fetcher:
        url = f"http://images.test:{server.port}/"
        for body in (IMAGE, IMAGE + b"!"):
            server.add(200, body, **{**PNG, **({"content_length": str(len(body))} if announced else {})})
        assert (await fetcher.fetch(url))[1] == IMAGE
        assert "larger" in await _refusal(fetcher, url)


async def test_a_server_that_goes_on_forever_is_left_in_time() -> None:
    """The connection is closed, too."""
    names = Names(images=[["127.0.0.1"]])
    async with _serving() as server, _fetching(names, timeout_s=2) as fetcher:
        server.add(200, None, content_type="image/png", content_length="100")
        assert "within 2 s" in await _refusal(fetcher, f"http://images.test:{server.port}/")
        await server.until_left(1)


async def test_a_server_that_is_not_there_is_reported_without_its_address() -> None:
    """The caller learns that it failed, not how this machine sees the network."""
    names = Names(images=[["127.0.0.1"]] * 2)
    async with _serving() as server:
        pass
    async with _fetching(names) as fetcher:
        assert "127" not in await _refusal(fetcher, f"http://images.test:{server.port}/")


async def test_tls_is_asked_for_by_name() -> None:
    """The server's name goes out as SNI, though the connection goes to an address; an unknown one is not trusted."""
    asked: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = lambda _, name, __: asked.append(name)
    names = Names(images=[["127.0.0.1"]])
    async with _serving(ssl=context) as server, _fetching(names) as fetcher:
        await _refusal(fetcher, f"https://images.test:{server.port}/")
    assert asked == ["images.test"]


async def test_images_that_come_at_once_are_counted_together_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four that never end, each within its own bound: they are left as soon as their sum is too large."""
    monkeypatch.setattr(remote, "MAX_REMOTE_BYTES", 11)
    names = Names(**{f"images{number}": [["127.0.0.1"]] for number in range(4)})
    async with _serving() as server, _fetching(names) as fetcher:
        for _ in range(4):
            server.add(body=None)  # three bytes, and no end
        urls = [f"http://images{number}.test:{server.port}/" for number in range(4)]
        parts: list[Any] = [ImagePart(ImageUrl(url)) for url in urls]
        with pytest.raises(InvalidRequest, match="too large together") as caught:
            await remote.fetch_images([UserMessage(parts)], fetcher)
        assert caught.value.code == remote.CODE
        await server.until_left(4)


async def test_what_comes_at_once_is_parsed_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of a byte, heads that say "go on": of several servers together they held a worker for seconds."""
    names = Names(images=[["127.0.0.1"]] * 6)
    with bytes_parsed(monkeypatch) as parsed:
        async with _serving() as server, _fetching(names) as fetcher:
            for _ in range(3):
                server.add(
                    200, b"1\r\na\r\n" * 50_000 + b"0\r\n\r\n", transfer_encoding="chunked", content_type="image/png"
                )
            url = f"http://images.test:{server.port}/"
            assert await asyncio.gather(*(fetcher.fetch(url) for _ in range(3))) == [("image/png", b"a" * 50_000)] * 3
            server.replies += [(103, {"link": "a"}, b"HTTP/1.1 103 Go on\r\nlink: a\r\n\r\n" * 20_000)] * 3
            for refused in await asyncio.gather(*(_refusal(fetcher, url) for _ in range(3))):
                assert "could not be fetched" in refused
    # One that was not the first of its connection, and, where none waited, one that was.
    assert max(parsed.values()) <= 2 * PIECE_BYTES
