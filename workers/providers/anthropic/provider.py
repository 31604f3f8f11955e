"""Provider 'anthropic': Anthropic's Messages API.

Not its OpenAI-compatible one, which drops what it does not know and hides Claude's thinking.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from shared.errors import InvalidRequest
from shared.openai.messages import first_call_ids
from shared.process.tasks import work_beside
from shared.types import LocalModel
from workers.providers.anthropic.errors import from_status_error
from workers.providers.anthropic.models import ModelFacts, ModelPage, facts_of
from workers.providers.anthropic.reply import ChatReader
from workers.providers.anthropic.request import Prepared, to_body
from workers.providers.anthropic.thinking import Piece, from_kept, may_think, to_kept
from workers.providers.http.reply import Reply
from workers.providers.http.upstream import StatusError, Upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from shared.openai.embeddings import Embedded, EmbeddingsRequest
    from shared.openai.request import ChatRequest
    from shared.types import Event
    from workers.providers.tool_call_state import ToolCallState

DEFAULT_BASE_URL = "https://api.anthropic.com"
# Version 2026-10-21 has no temperature and no top_p, which models before Claude Opus 4.7 take.
API_VERSION = "2023-06-01"
PAGE_SIZE = 1000
MAX_PAGES = 20
STORE_BOUND_S = 1.0
_log = logging.getLogger(__name__)


class AnthropicProvider:
    """Anthropic's API, or a server that speaks it.

    Args:
        base_url: the server's URL without a version, as Anthropic's own client takes it.
        api_key: sent as `x-api-key`.
        connections: how many connections may be open at once.
        thinking: where Claude's thinking waits for the results of the tools that it called; without it, Claude
            goes on without its earlier thoughts.
    """

    name = "anthropic"
    parallel: int | None = None
    embeds_as_openai = False

    def __init__(
        self,
        base_url: str = DEFAULT_BASE_URL,
        api_key: str | None = None,
        connections: int = 64,
        thinking: ToolCallState | None = None,
    ) -> None:
        headers = {"anthropic-version": API_VERSION, **({"x-api-key": api_key} if api_key else {})}
        self._upstream = Upstream(base_url, headers=headers, connections=connections)
        self._thinking = thinking
        self._facts: dict[str, ModelFacts] = {}

    @asynccontextmanager
    async def stream(self, request: ChatRequest, model: str) -> AsyncIterator[AsyncIterator[Sequence[Event]]]:
        """Start a completion; see `workers.providers.base.Provider.stream`.

        Claude rejects its earlier thoughts once the client has changed what came before them. They are ours to
        put back or not, so such a request is sent once more without them.
        """
        facts = self._facts.get(model) or facts_of(model)
        translate = partial(to_body, request, model, facts)
        kept = await self._recall(request, model, facts)
        prepared = await work_beside(request.size_bytes, partial(translate, kept))
        try:
            async with self._attempt(prepared, model) as events:
                yield events
                return
        except StatusError as rejection:
            # Only where leaving the thoughts out may help: any other rejection would come again.
            if not (prepared.has_thoughts and rejection.status == 400 and rejection.report.is_about("`thinking`")):
                raise from_status_error(rejection.failure, rejection.report) from None
        try:
            async with self._attempt(await work_beside(request.size_bytes, translate), model) as events:
                yield events
        except StatusError as rejection:
            raise from_status_error(rejection.failure, rejection.report) from None

    @asynccontextmanager
    async def _attempt(self, prepared: Prepared, model: str) -> AsyncIterator[AsyncIterator[Sequence[Event]]]:
        reader = ChatReader(prepared.json_tool)
        async with self._upstream.request("POST", "/v1/messages", prepared.content, reader) as reply:
            yield self._events(reply, reader, model)

    async def _events(self, reply: Reply, reader: ChatReader, model: str) -> AsyncIterator[Sequence[Event]]:
        """Yield the reply's batches. Its thinking is kept before the last one, so that the next turn will find it."""
        async for batch in reply.batches(reader):
            if reader.done and reader.has_thoughts:
                await self._keep(reader, model)
            yield batch

    async def _keep(self, reader: ChatReader, model: str) -> None:
        if self._thinking is None:
            return
        try:
            async with asyncio.timeout(STORE_BOUND_S):
                await self._thinking.put_many(model, {reader.first_call_id or "": to_kept(reader.pieces)})
        except Exception:  # noqa: BLE001 -- whatever the store is: an answer is worth more than its thinking
            _log.warning("Claude's thinking could not be kept for the next turn.", exc_info=True)

    async def _recall(self, request: ChatRequest, model: str, facts: ModelFacts) -> dict[str, list[Piece]]:
        """Return the blocks of the request's earlier turns, by the id of each one's first call."""
        body = request.body
        ids = first_call_ids(body.messages)
        if self._thinking is None or not ids or not may_think(facts, body.reasoning_effort):
            return {}
        try:
            async with asyncio.timeout(STORE_BOUND_S):
                kept = await self._thinking.get_many(model, ids)
        except Exception:  # noqa: BLE001 -- whatever the store is: Claude can do without
            _log.warning("Claude's thinking of earlier turns could not be fetched.", exc_info=True)
            return {}
        return {call_id: from_kept(text) for call_id, text in kept.items()}

    async def embed(self, request: EmbeddingsRequest, model: str) -> Embedded:  # noqa: ARG002 -- the Protocol's
        """Refuse: Anthropic makes no embeddings.

        Raises:
            InvalidRequest: always.
        """
        raise InvalidRequest("Anthropic makes no embeddings.", param="model", code="wrong_endpoint")

    async def models(self) -> Sequence[LocalModel]:
        """Return the models that the account may use. What the API says of them corrects the table of facts.

        Raises:
            UpstreamError: it cannot be asked.
        """
        found: list[LocalModel] = []
        path = f"/v1/models?limit={PAGE_SIZE}"
        for _ in range(MAX_PAGES):
            page = await self._upstream.fetch("GET", path, None, ModelPage)
            for model in page.data:
                self._facts[model.id] = model.to_facts()
                found.append(model.to_model(_seconds(model.created_at)))
            if not page.has_more or page.last_id is None:
                break
            path = f"/v1/models?limit={PAGE_SIZE}&after_id={page.last_id}"
        return found

    async def close(self) -> None:
        await self._upstream.close()


def _seconds(timestamp: str) -> int:
    """Convert an RFC 3339 time to seconds since 1970; return 0 if it is none."""
    try:
        return int(datetime.fromisoformat(timestamp).timestamp())
    except ValueError:
        return 0
