"""What is put before the messages of one request, by its headers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.prompt.expert import expert
from api.prompt.headers import read_headers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.types import AddedText


class Additions:
    """Knows what to put before a client's messages."""

    async def of(self, headers: Iterable[tuple[bytes, bytes]]) -> tuple[AddedText, ...]:
        """Return what is put before the messages of a request, in its order.

        Args:
            headers: the request's.

        Raises:
            InvalidRequest: a header has a value that it cannot have; `param` names it.
        """
        asked = read_headers(headers)
        return (expert(),) if asked.app else ()
