"""The images that a request names by address, all fetched before it is translated, for APIs that take bytes only."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import Final

import msgspec

from shared.errors import InvalidRequest
from shared.openai.messages import ImagePart, Message, UserMessage
from shared.process.tasks import end_all

MAX_REMOTE_IMAGES: Final = 16
MAX_REMOTE_BYTES: Final = 64 * 1024 * 1024
FETCHES_AT_ONCE: Final = 4
ALL_IMAGES_S: Final = 20.0
"""For all images of a request together."""
CODE: Final = "invalid_image_url"
TOO_LARGE: Final = "The images are too large together."


class ByteSum:
    """The bytes of all images of a request, counted as they come.

    Args:
        most: how many there may be.
    """

    def __init__(self, most: int) -> None:
        self._left = most
        self.exceeded = asyncio.Event()

    def add(self, size: int) -> None:
        """Count bytes that came.

        Raises:
            InvalidRequest: they are too many together.
        """
        self._left -= size
        if self._left < 0:
            self.exceeded.set()
            raise InvalidRequest(TOO_LARGE, code=CODE)


bytes_together: Final[ContextVar[ByteSum | None]] = ContextVar("bytes_together", default=None)
"""Of the request for which images are being fetched."""
FetchImage = Callable[[str], Awaitable[tuple[str, bytes]]]
"""The type and bytes of the image at a URL, or InvalidRequest: `ImageFetcher` is one."""


class Image(msgspec.Struct, frozen=True):
    """An image that was fetched."""

    mime_type: str
    data: bytes

    @property
    def base64(self) -> str:
        """Return the bytes as text."""
        return b64encode(self.data).decode()

    @property
    def data_url(self) -> str:
        """Return type and bytes as a data URL."""
        return f"data:{self.mime_type};base64,{self.base64}"


def remote_images(messages: list[Message]) -> Iterator[tuple[str, str]]:
    """Yield the URL of each image that is not a data URL, with its place."""
    for number, message in enumerate(messages):
        if isinstance(message, UserMessage) and not isinstance(message.content, str):
            for index, part in enumerate(message.content):
                if isinstance(part, ImagePart) and not part.image_url.url.startswith("data:"):
                    yield part.image_url.url, f"messages[{number}].content[{index}].image_url.url"


async def fetch_images(messages: list[Message], fetch: FetchImage | None) -> dict[str, Image]:
    """Fetch every remote image once, all within one time; return them by URL, none without `fetch`.

    Raises:
        InvalidRequest: one cannot be fetched, or they are too many or too large; `param` names the first such place.
    """
    wanted: dict[str, str] = {}
    for url, where in remote_images(messages):
        # Once each: long conversations send the same image with every turn.
        wanted.setdefault(url, where)
    if not wanted or fetch is None:
        return {}
    if len(wanted) > MAX_REMOTE_IMAGES:
        where = list(wanted.values())[MAX_REMOTE_IMAGES]
        raise InvalidRequest(f"At most {MAX_REMOTE_IMAGES} images are fetched for one request.", param=where)
    found: dict[str, Image] = {}
    together = ByteSum(MAX_REMOTE_BYTES)
    # The tasks made below take it along in their contexts.
    bytes_together.set(together)
    room = asyncio.Semaphore(FETCHES_AT_ONCE)
    tasks = [asyncio.create_task(_fetched(fetch, url, where, room, found)) for url, where in wanted.items()]
    too_large = asyncio.create_task(together.exceeded.wait())
    try:
        async with asyncio.timeout(ALL_IMAGES_S):
            # In the order of the request, so that the first failing place is named.
            for task in tasks:
                await asyncio.wait({task, too_large}, return_when=asyncio.FIRST_COMPLETED)
                if too_large.done():
                    raise InvalidRequest(TOO_LARGE, param=next(iter(wanted.values())), code=CODE)
                if (refusal := await task) is not None:
                    raise refusal
    except TimeoutError:
        where = next((where for url, where in wanted.items() if url not in found), next(iter(wanted.values())))
        message = f"The images could not be fetched within {ALL_IMAGES_S:g} s."
        raise InvalidRequest(message, param=where, code=CODE) from None
    finally:
        await end_all(*tasks, too_large)
    return {url: found[url] for url in wanted}


async def _fetched(
    fetch: FetchImage, url: str, where: str, room: asyncio.Semaphore, found: dict[str, Image]
) -> InvalidRequest | None:
    """Fetch the image at `url` into those that were found, or return why there is none.

    The next begins only as long as their sum allows it.
    """
    async with room:
        # Looked at before and after: four run at once, and each may add as much as one may have.
        if _size(found) <= MAX_REMOTE_BYTES:
            try:
                found[url] = Image(*await fetch(url))
            except InvalidRequest as error:
                return InvalidRequest(error.message, param=where, code=error.code)
        if _size(found) > MAX_REMOTE_BYTES:
            return InvalidRequest(TOO_LARGE, param=where, code=CODE)
        return None


def _size(images: dict[str, Image]) -> int:
    return sum(len(image.data) for image in images.values())
