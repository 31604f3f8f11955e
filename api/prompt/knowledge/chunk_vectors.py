"""Vectors of chunks, made by a model that may fail on some of them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Protocol

from api.requests.own_request import OwnRequest
from shared.errors import Cancelled, Draining, GatewayError, Overloaded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.requests.own_request import OwnVectors
    from shared.postgres.knowledge.vectors import Unembedded, VectorStore

_log = logging.getLogger(__name__)

TIMEOUT_S: Final = 120.0
PROBE_TIMEOUT_S: Final = 30.0
PROBE: Final = "Is anybody there?"
_NO_ANSWER: Final = (Overloaded, Draining, Cancelled)
"""The model was not asked at all, or somebody stopped it."""


class _Embed(Protocol):
    async def __call__(self, own: OwnRequest, model: str, texts: Sequence[str]) -> OwnVectors:
        """Return the vectors of texts."""


class ChunkVectors:
    """Makes and stores the vectors of chunks, and sets those aside that the model fails on.

    Args:
        store: where vectors are.
        embed: asks a model.
    """

    def __init__(self, store: VectorStore, embed: _Embed) -> None:
        self._store = store
        self._embed = embed

    async def make(self, model: str, chunks: Sequence[Unembedded]) -> bool:
        """Make and store the vectors of chunks; return False where none could be made.

        Raises:
            GatewayError, TimeoutError: the model answers nothing now, whatever it is asked.
            DatabaseUnavailable: PostgreSQL does not answer.
        """
        own = OwnRequest(purpose="knowledge", timeout_s=TIMEOUT_S)
        try:
            made = await self._embed(own, model, [chunk.text for chunk in chunks])
        except _NO_ANSWER:
            raise
        except (GatewayError, TimeoutError) as error:
            await self._check(model)
            if len(chunks) == 1:
                await self._set_aside(model, chunks[0], error)
                return False
        else:
            await self._store.put(model, chunks, made.vectors)
            return True
        middle = len(chunks) // 2
        # A list: with a generator `any` would not try the second half once the first has some.
        return any([await self.make(model, chunks[:middle]), await self.make(model, chunks[middle:])])

    async def _check(self, model: str) -> None:
        """Let the model embed a few words: where it cannot, it is to blame and no chunk."""
        await self._embed(OwnRequest(purpose="knowledge", timeout_s=PROBE_TIMEOUT_S), model, [PROBE])

    async def _set_aside(self, model: str, chunk: Unembedded, error: GatewayError | TimeoutError) -> None:
        reason = (error.code or str(error)) if isinstance(error, GatewayError) else f"no answer in {TIMEOUT_S:.0f} s"
        _log.warning("%s makes no vector of chunk %s (%s); it is tried again later", model, chunk.id, reason)
        await self._store.set_aside(model, chunk, reason)
