"""Fetches the images that clients name by URL, from public addresses only.

A URL is a client's way to make this machine open connections, so nothing of it is trusted: a host is resolved once,
every address is checked, the connection goes to an address that was checked, and each redirect starts anew.
"""

from __future__ import annotations

import asyncio
import ipaddress
from contextlib import suppress
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Final

import httpx

from shared.errors import InvalidRequest
from shared.openai.image_types import image_type
from workers.providers.http.client import foreign_client
from workers.providers.images.addresses import Address, Lookups, destination_of, is_foreign
from workers.providers.images.caller import caller
from workers.providers.images.remote import CODE, bytes_together
from workers.reasons import NETWORK_ERRORS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

MAX_BYTES: Final = 20 * 1024 * 1024
MAX_URL_CHARS: Final = 8192
TIMEOUT_S: Final = 10.0
CONNECT_TIMEOUT_S: Final = 3.0
REDIRECTS: Final = 3
OWN_S: Final = 60.0
"""Time that the addresses of our own name are taken to stay."""
_REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
_NOT_ALLOWED = "The image's URL is not one of a public http(s) server."


class ImageFetcher:
    """Fetches images. Calling it is `fetch`.

    Args:
        max_bytes: the most bytes that an image may have.
        timeout_s: the most seconds that a fetch may take, redirects included.
        connections: how many may be open at once.
        is_allowed: whether an address may be connected to.
        resolve: the addresses of a host and port, looked up for a caller; by default as the system finds them.
        own_host: the name by which this gateway is reached from outside, if it has one.
    """

    def __init__(
        self,
        *,
        max_bytes: int = MAX_BYTES,
        timeout_s: float = TIMEOUT_S,
        connections: int = 32,
        is_allowed: Callable[[Address], bool] = is_foreign,
        resolve: Callable[[str, int], Awaitable[Sequence[str]]] | None = None,
        own_host: str = "",
    ) -> None:
        self._lookups = Lookups()
        self._own_host = own_host
        self._own: frozenset[Address] = frozenset()
        self._look_at = 0.0
        self._one_look = asyncio.Lock()
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._is_allowed = is_allowed
        self._resolve = resolve or self._looked_up
        # No connection serves twice: a kept one would belong to an address that another host was checked for.
        headers = {"accept": "image/*", "accept-encoding": "identity", "connection": "close"}
        self._client = foreign_client(headers=headers, connections=connections)
        # No cookies: one client's image server must not know another client's visit.
        self._client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    async def __call__(self, url: str) -> tuple[str, bytes]:
        """See `fetch`."""
        return await self.fetch(url)

    async def fetch(self, url: str) -> tuple[str, bytes]:
        """Return the type and the bytes of the image at `url`.

        Raises:
            InvalidRequest: it cannot be fetched, is no image or is too large; the caller adds `param`.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._follow(url)
        except TimeoutError:
            raise _refused(f"The image could not be fetched within {self._timeout_s:g} s.") from None
        except NETWORK_ERRORS:
            raise _refused("The image could not be fetched.") from None

    async def close(self) -> None:
        await self._client.aclose()

    async def _follow(self, url: str) -> tuple[str, bytes]:
        target = _checked_url(url)
        for _ in range(REDIRECTS + 1):
            response = await self._open(target)
            try:
                if response.status_code not in _REDIRECT_STATUSES:
                    return await self._image(response)
                target = _next(target, response.headers.get("location", ""))
            finally:
                await response.aclose()
        raise _refused("The image's URL redirects too often.")

    async def _open(self, target: httpx.URL) -> httpx.Response:
        """Return the reply's head, from the first address that can be connected to."""
        host = target.raw_host.decode("ascii")
        failure: Exception = OSError("the host has no address")
        for address in await self._addresses(host, target.port or (443 if target.scheme == "https" else 80)):
            request = self._client.build_request(
                "GET",
                target.copy_with(host=str(address)),
                headers={"host": target.netloc.decode("ascii")},
                extensions={
                    # The certificate is checked for the name, though the connection goes to an address.
                    "sni_hostname": host.strip("[]"),
                    # All else is bounded by the time of the whole fetch.
                    "timeout": httpx.Timeout(None, connect=CONNECT_TIMEOUT_S).as_dict(),
                },
            )
            try:
                return await self._client.send(request, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error
        raise failure

    async def _looked_up(self, host: str, port: int) -> Sequence[str]:
        return await self._lookups.addresses(host, port, caller.get())

    async def _own_addresses(self) -> frozenset[Address]:
        """Return the addresses by which this gateway is reached from outside: maybe those of a router before it."""
        async with self._one_look:
            if self._own_host and asyncio.get_running_loop().time() >= self._look_at:
                with suppress(OSError, ValueError):
                    found = map(ipaddress.ip_address, await self._resolve(self._own_host, 443))
                    self._own = frozenset(map(destination_of, found))
                self._look_at = asyncio.get_running_loop().time() + OWN_S
            return self._own

    async def _addresses(self, host: str, port: int) -> list[Address]:
        """Return every address of a host; one that is not allowed spoils them all, as no honest host has such.

        Raises:
            InvalidRequest: one is not allowed, or there is none.
        """
        try:
            found = [ipaddress.ip_address(text) for text in await self._resolve(host.strip("[]"), port)]
        except (OSError, ValueError):
            # The same words as for a private address: whether a name exists inside is nobody's business.
            raise _refused(_NOT_ALLOWED) from None
        own = await self._own_addresses()
        if not found or not all(self._is_allowed(address) and destination_of(address) not in own for address in found):
            raise _refused(_NOT_ALLOWED)
        return found

    async def _image(self, response: httpx.Response) -> tuple[str, bytes]:
        if response.status_code != 200:
            raise _refused(f"The image's server answered with status {response.status_code}.")
        mime_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not mime_type.startswith("image/"):
            raise _refused("The image's URL does not lead to an image.")
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise _refused("The image's server compresses it, though it was asked not to.")
        length = response.headers.get("content-length", "")
        too_large = _refused(f"The image is larger than {self._max_bytes} bytes.")
        # Before any of it is read; what follows does not trust the header.
        if length.isdecimal() and int(length) > self._max_bytes:
            raise too_large
        parts, size, together = [], 0, bytes_together.get()
        async for data in response.aiter_raw():
            parts.append(data)
            size += len(data)
            if together is not None:
                together.add(len(data))
            if size > self._max_bytes:
                raise too_large
        data = b"".join(parts)
        return image_type(mime_type, data), data


def _checked_url(url: str) -> httpx.URL:
    """Return a URL that may be followed.

    Raises:
        InvalidRequest: it is not http(s), names no host, or carries a password.
    """
    try:
        target = httpx.URL(url)
        is_fine = (
            len(url) <= MAX_URL_CHARS
            and not any(character.isspace() for character in url)
            and target.scheme in {"http", "https"}
            and bool(target.host)
            and not target.userinfo
            and (target.port is None or 0 < target.port < 2**16)
        )
    except (httpx.InvalidURL, ValueError, TypeError):
        is_fine = False
    if not is_fine:
        raise _refused(_NOT_ALLOWED)
    return target


def _next(target: httpx.URL, location: str) -> httpx.URL:
    try:
        return _checked_url(str(target.join(location)))
    except (httpx.InvalidURL, ValueError):
        raise _refused(_NOT_ALLOWED) from None


def _refused(message: str) -> InvalidRequest:
    return InvalidRequest(message, code=CODE)
