"""Sends chat requests to OpenAI over its Responses API, and keeps what its models thought for their next turn."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from shared.errors import GatewayError
from shared.openai.messages import first_call_ids
from shared.process.tasks import work_beside
from workers.providers.http.upstream import StatusError
from workers.providers.images.caller import caller
from workers.providers.openai.errors import from_status_error
from workers.providers.openai.responses.errors import name_chat_places
from workers.providers.openai.responses.native import NativeReader, name_own_places, needs_thoughts, to_native_body
from workers.providers.openai.responses.own_items import thoughts_without_content
from workers.providers.openai.responses.reply import ResponseReader
from workers.providers.openai.responses.request import ENCRYPTED, Prepared, to_body
from workers.providers.openai.responses.turns import Piece, from_kept, to_kept

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping, Sequence

    from shared.dialects.responses.request import ResponsesRequest
    from shared.openai.request import ChatRequest
    from shared.types import Event
    from workers.providers.http.reply import Reply
    from workers.providers.http.upstream import Upstream
    from workers.providers.images.remote import Image
    from workers.providers.openai.base_url import BaseUrl
    from workers.providers.tool_call_state import ToolCallState

STORE_BOUND_S: Final = 1.0
_log = logging.getLogger(__name__)


class ResponsesApi:
    """OpenAI's Responses API at one place.

    Args:
        upstream: the connections to it.
        place: where it is.
        thoughts: where thoughts wait for the results of the tools that were called after them; without it, models go
            on without.
    """

    def __init__(self, upstream: Upstream, place: BaseUrl, thoughts: ToolCallState | None = None) -> None:
        self._upstream = upstream
        self._place = place
        self._thoughts = thoughts
        self._without_thoughts: set[str] = set()

    @asynccontextmanager
    async def stream(
        self, request: ChatRequest, model: str, *, images: Mapping[str, Image], cannot: Collection[str]
    ) -> AsyncIterator[AsyncIterator[Sequence[Event]]]:
        """Start a completion; see `workers.providers.base.Provider.stream`.

        A model that does not give its thoughts away, or rejects those of earlier turns, is asked once more without:
        both are ours to ask for.

        Args:
            request: the client's.
            model: by the API's own name.
            images: those that go out as data, by their address.
            cannot: what the model does not take.
        """
        prepare = partial(to_body, request, model, images=images, cannot=cannot)
        kept = await self._recall(request, model)
        left_out: set[str] = {ENCRYPTED} if model in self._without_thoughts else set()
        while True:
            prepared = await work_beside(request.size_bytes, partial(prepare, kept=kept, left_out=left_out))
            try:
                async with self._attempt(request, prepared, model) as events:
                    if left_out:
                        self._without_thoughts.add(model)
                    yield events
                    return
            except StatusError as rejection:
                # Without its first letter: "Encrypted content …" and "encrypted_content" are both meant.
                if rejection.status == 400 and not left_out and rejection.report.is_about("ncrypted"):
                    # Said of the thoughts that came back, or of being asked for new ones.
                    kept, left_out = {}, set() if prepared.has_thoughts else {ENCRYPTED}
                    continue
                failure = from_status_error(rejection.failure, rejection.report)
                self._name_places(failure, request, prepared)
                raise failure from None

    @asynccontextmanager
    async def pass_on(
        self, request: ChatRequest, requested: ResponsesRequest, model: str, cannot: Collection[str]
    ) -> AsyncIterator[AsyncIterator[Sequence[Event]]]:
        """Start an answer to a request of this very API, which goes out as its client sent it.

        Thoughts that OpenAI cannot read (they are another organization's, or model's) are left out: the client cannot
        know who made them, and its conversation would be lost.

        Args:
            request: as a chat, with what the gateway adds.
            requested: as the client sent it.
            model: by the API's own name.
            cannot: what the model does not take.
        """
        prepare = partial(to_native_body, request, requested, model, cannot)
        kept = await self._recall_own(requested, model)
        without = frozenset({ENCRYPTED}) if model in self._without_thoughts else frozenset[str]()
        while True:
            body = await work_beside(request.size_bytes, partial(prepare, kept=kept, without=without))
            reader = NativeReader(request.body.tool_names, requested.tools, is_regional=self._place.is_regional)
            path = self._place.path("/responses", model)
            try:
                async with self._upstream.request("POST", path, body.content, reader) as reply:
                    if ENCRYPTED in without:
                        self._without_thoughts.add(model)
                    yield self._own_events(reply, reader, requested, model)
                    return
            except StatusError as rejection:
                more = (
                    body.rejected_thoughts if rejection.status == 400 and rejection.report.is_about("ncrypted") else ""
                )
                if more and more not in without:
                    without |= {more}
                    continue
                failure = from_status_error(rejection.failure, rejection.report)
                name_own_places(failure, requested, body)
                raise failure from None

    @asynccontextmanager
    async def _attempt(
        self, request: ChatRequest, prepared: Prepared, model: str
    ) -> AsyncIterator[AsyncIterator[Sequence[Event]]]:
        reader = ResponseReader(request.body.tool_names, is_regional=self._place.is_regional)
        path = self._place.path("/responses", model)
        async with self._upstream.request("POST", path, prepared.content, reader) as reply:
            try:
                yield self._events(reply, reader, model)
            except GatewayError as failure:
                self._name_places(failure, request, prepared)
                raise

    async def _events(self, reply: Reply, reader: ResponseReader, model: str) -> AsyncIterator[Sequence[Event]]:
        """Yield the reply's batches. Its thoughts are kept before the last one, so that the next turn finds them."""
        async for batch in reply.batches(reader):
            if reader.done and reader.has_thoughts:
                await self._keep(reader, model)
            yield batch

    @staticmethod
    def _name_places(failure: GatewayError, request: ChatRequest, prepared: Prepared) -> None:
        limit = "max_tokens" if request.body.max_completion_tokens is None else "max_completion_tokens"
        name_chat_places(failure, prepared.places, limit)

    async def _keep(self, reader: ResponseReader, model: str) -> None:
        await self._put(model, {reader.first_call_id or "": to_kept(reader.pieces)})

    async def _put(self, model: str, texts: Mapping[str, str]) -> None:
        if self._thoughts is None or not texts:
            return
        try:
            async with asyncio.timeout(STORE_BOUND_S):
                await self._thoughts.put_many(model, texts)
        except Exception:  # noqa: BLE001 -- whatever the store is: an answer is worth more than its thoughts
            _log.warning("A model's thoughts could not be kept for its next turn.", exc_info=True)

    async def _own_events(
        self, reply: Reply, reader: NativeReader, requested: ResponsesRequest, model: str
    ) -> AsyncIterator[Sequence[Event]]:
        """Yield the reply's batches. Thoughts that its client does not get are kept for when it names them."""
        async for batch in reply.batches(reader):
            if reader.done and needs_thoughts(requested):
                thoughts = {
                    own_thought(piece.id): piece.encrypted_content for piece in reader.pieces if piece.encrypted_content
                }
                await self._put(model, thoughts)
            yield batch

    async def _recall_own(self, requested: ResponsesRequest, model: str) -> dict[str, str]:
        """Return the content of thoughts that come without, by their ids."""
        names = {own_thought(name): name for name in thoughts_without_content(requested.fields.get("input"))}
        return {names[key]: text for key, text in (await self._get(model, list(names))).items()}

    async def _recall(self, request: ChatRequest, model: str) -> dict[str, list[Piece]]:
        """Return the items of the request's earlier turns, by the id of each one's first call."""
        kept = await self._get(model, first_call_ids(request.body.messages))
        return {call_id: from_kept(text) for call_id, text in kept.items()}

    async def _get(self, model: str, names: Sequence[str]) -> Mapping[str, str]:
        if self._thoughts is None or not names:
            return {}
        try:
            async with asyncio.timeout(STORE_BOUND_S):
                return await self._thoughts.get_many(model, names)
        except Exception:  # noqa: BLE001 -- whatever the store is: a model can do without
            _log.warning("A model's thoughts of earlier turns could not be fetched.", exc_info=True)
            return {}


def own_thought(item_id: str) -> str:
    """Return under which name the content of thoughts is kept: a caller gets his own alone."""
    return f"{caller.get()} {item_id}"
