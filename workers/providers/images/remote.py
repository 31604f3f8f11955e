"""The images that a request names by address, all fetched before it is translated, for APIs that take bytes only."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import msgspec

from shared.errors import InvalidRequest
from shared.openai.messages import ImagePart, Message, UserMessage

MAX_REMOTE_IMAGES: Final = 16
MAX_REMOTE_BYTES: Final = 64 * 1024 * 1024
FETCHES_AT_ONCE: Final = 4

FetchImage = Callable[[str], Awaitable[tuple[str, bytes]]]
"""The type and bytes of the image at a URL, or InvalidRequest: `ImageFetcher` is one."""


class Image(msgspec.Struct, frozen=True):
    """An image that was fetched."""

    mime_type: str
    data: bytes

    @property
    def base64(self) -> str:
        """The bytes as text."""
        return b64encode(self.data).decode()

    @property
    def data_url(self) -> str:
        """Type and bytes as a data URL."""
        return f"data:{self.mime_type};base64,{self.base64}"


def remote_images(messages: list[Message]) -> Iterator[tuple[str, str]]:
    """The URL of each image that is not a data URL, with its place."""
    for number, message in enumerate(messages):
        if isinstance(message, UserMessage) and not isinstance(message.content, str):
            for index, part in enumerate(message.content):
                if isinstance(part, ImagePart) and not part.image_url.url.startswith("data:"):
                    yield part.image_url.url, f"messages[{number}].content[{index}].image_url.url"


async def fetch_images(messages: list[Message], fetch: FetchImage | None) -> dict[str, Image]:
    """Every remote image by its URL, each fetched once; none without `fetch`.

    Raises:
        InvalidRequest: one cannot be fetched, or they are too many or too large; `param` names the first such place.
    """
    wanted: dict[str, str] = {}
    for url, where in remote_images(messages):
        wanted.setdefault(url, where)
    if not wanted or fetch is None:
        return {}
    if len(wanted) > MAX_REMOTE_IMAGES:
        where = list(wanted.values())[MAX_REMOTE_IMAGES]
        raise InvalidRequest(f"At most {MAX_REMOTE_IMAGES} images are fetched for one request.", param=where)
    room = asyncio.Semaphore(FETCHES_AT_ONCE)
    outcomes = await asyncio.gather(*(_fetched(fetch, url, where, room) for url, where in wanted.items()))
    images: dict[str, Image] = {}
    size = 0
    for (url, where), outcome in zip(wanted.items(), outcomes, strict=True):
        if isinstance(outcome, InvalidRequest):
            raise outcome
        size += len(outcome.data)
        if size > MAX_REMOTE_BYTES:
            raise InvalidRequest("The images are too large together.", param=where)
        images[url] = outcome
    return images


async def _fetched(fetch: FetchImage, url: str, where: str, room: asyncio.Semaphore) -> Image | InvalidRequest:
    """The image at `url`, or why there is none: returned, so that the first failing place can be told."""
    async with room:
        try:
            return Image(*await fetch(url))
        except InvalidRequest as error:
            return InvalidRequest(error.message, param=where, code=error.code)
