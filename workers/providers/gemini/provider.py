"""Provider 'gemini': Google's Gemini API, by its own protocol.

Not its OpenAI-compatible one, which knows no `top_k`, no safety reasons and no quota details.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from shared.errors import CallerError, InvalidRequest, Unavailable
from shared.process.tasks import work_beside
from shared.types import LocalModel
from workers.providers.gemini.errors import from_body, to_error
from workers.providers.gemini.messages import Known
from workers.providers.gemini.models import Model, ModelPage, is_plain
from workers.providers.gemini.reply import ChatReader
from workers.providers.gemini.request import to_body
from workers.providers.gemini.signed import call_ids, signatures_in
from workers.providers.gemini.thinking import goes_on, needs_signatures
from workers.providers.http.error_body import retry_after_s
from workers.providers.http.reply import Reply
from workers.providers.http.upstream import ERROR_BODY_BOUND_S, MAX_ERROR_BODY_BYTES, Upstream
from workers.providers.images.remote import fetch_images

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import httpx

    from shared.models.catalogue import Catalogue
    from shared.openai.embeddings import Embedded, EmbeddingsRequest
    from shared.openai.request import ChatRequest
    from shared.types import Event
    from workers.providers.http.direct import DirectReply
    from workers.providers.images.remote import FetchImage
    from workers.providers.tool_call_state import ToolCallState

BASE_URL: Final = "https://generativelanguage.googleapis.com"
_PAGE_SIZE = 1000
_MAX_PAGES = 20


class GeminiProvider:
    """One account at the Gemini API. Every request is streamed, so that there is one path.

    Args:
        base_url: the API's URL, without a version.
        api_key: sent as `x-goog-api-key`, never in a URL.
        connections: how many connections may be open at once.
        signatures: keeps thought signatures from one turn to the next.
        fetch_image: the type and bytes of a remote image, or InvalidRequest; without it those are refused.
        catalogue: what is known of the models; without it they are sent all that the client says.
    """

    name = "gemini"
    parallel: int | None = None
    embeds_as_openai = False

    def __init__(
        self,
        base_url: str,
        api_key: str,
        connections: int,
        signatures: ToolCallState,
        *,
        fetch_image: FetchImage | None = None,
        catalogue: Catalogue | None = None,
    ) -> None:
        self._upstream = _GoogleUpstream(base_url, api_key, connections)
        self._signatures = signatures
        self._fetch_image = fetch_image
        self._catalogue = catalogue

    @asynccontextmanager
    async def stream(self, request: ChatRequest, model: str) -> AsyncIterator[AsyncIterator[Sequence[Event]]]:
        """Start a completion; see `workers.providers.base.Provider.stream`.

        Raises:
            Throttled: with the period of the quota that is spent.
        """
        model = model.removeprefix("models/")
        cannot = () if self._catalogue is None else self._catalogue.entry(model).lacks(request.body.reasoning_effort)
        known = await self._known(request, model)
        body = await work_beside(request.size_bytes, partial(to_body, request, model, known, cannot))
        reader = ChatReader(request.body.n or 1, request.body.tool_names)
        # Quoted whole: a client's name must not lead to another path of the API.
        path = f"/v1beta/models/{quote(model, safe='')}:streamGenerateContent?alt=sse"
        async with self._upstream.request("POST", path, body, reader) as reply:
            yield self._batches(model, reply, reader)

    async def embed(self, request: EmbeddingsRequest, model: str) -> Embedded:  # noqa: ARG002 -- the Protocol's
        """Refuse: the gateway's embeddings come from elsewhere.

        Raises:
            InvalidRequest: always.
        """
        raise InvalidRequest("The gateway makes no embeddings with Gemini.", param="model", code="wrong_endpoint")

    async def models(self) -> Sequence[LocalModel]:
        """Return the models that can complete chats, with the most tokens that their prompts can have.

        Raises:
            UpstreamError: it cannot be asked.
        """
        found: list[Model] = []
        token: str | None = ""
        # Bounded: a server that always names a next page would be asked for ever.
        for _ in range(_MAX_PAGES):
            query = f"pageSize={_PAGE_SIZE}" + (f"&pageToken={quote(token, safe='')}" if token else "")
            try:
                page = await self._upstream.fetch("GET", f"/v1beta/models?{query}", None, ModelPage)
            except CallerError as error:
                # No caller is to blame: this request is the worker's own.
                raise Unavailable(f"The model server refused to list its models: {error.message}") from None
            found += page.models or ()
            token = page.next_page_token
            if not token:
                break
        return [model.to_model() for model in found if "generateContent" in (model.supported_generation_methods or ())]

    async def close(self) -> None:
        await self._upstream.close()

    async def _batches(self, model: str, reply: Reply, reader: ChatReader) -> AsyncIterator[Sequence[Event]]:
        """Yield the reply's batches. A call's signature is stored before the call is yielded: clients may be quick."""
        async for batch in reply.batches(reader):
            if reader.signatures:
                kept, reader.signatures = reader.signatures, {}
                await self._signatures.put_many(model, kept)
            yield batch

    async def _known(self, request: ChatRequest, model: str) -> Known:
        signatures = signatures_in(request)
        missing = [call_id for call_id in call_ids(request.body.messages) if call_id not in signatures]
        if missing:
            signatures |= await self._signatures.get_many(model, missing)
        images = await fetch_images(request.body.messages, self._fetch_image)
        return Known(
            images,
            signatures,
            needs_signatures=needs_signatures(model),
            takes_instructions=not is_plain(model),
            goes_on=goes_on(model),
        )


class _GoogleUpstream(Upstream):
    """The API's connections: its own header for the key, and its errors with their details."""

    def __init__(self, base_url: str, api_key: str, connections: int) -> None:
        super().__init__(base_url, headers={"x-goog-api-key": api_key}, connections=connections)

    async def _send(self, method: str, path: str, content: bytes | None) -> httpx.Response | DirectReply:
        response = await super()._send(method, path, content)
        if response.is_success:
            return response
        try:
            failure = from_body(await Reply(response).beginning(MAX_ERROR_BODY_BYTES, ERROR_BODY_BOUND_S))
        finally:
            await response.aclose()
        raise to_error(response.status_code, failure, retry_after_s(response.headers.get("retry-after")))
