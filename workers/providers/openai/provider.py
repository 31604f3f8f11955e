"""Provider 'openai': any OpenAI-compatible server, by its base URL (OpenAI, llama.cpp, vLLM, LM Studio, ...)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from shared.errors import GatewayError
from shared.models.catalogue import ModelEntry
from shared.models.parameters import NATIVE_ONLY, WITHOUT_EFFECT
from shared.openai.embeddings import Embedded
from shared.openai.extra_fields import REPLY_FIELDS
from shared.process.tasks import work_beside
from workers.providers.http.error_body import template_failure
from workers.providers.http.upstream import StatusError, Upstream
from workers.providers.images.remote import fetch_images
from workers.providers.openai.base_url import BaseUrl
from workers.providers.openai.calls import SHORT_IDS, wants_short_ids
from workers.providers.openai.errors import from_status_error, is_unknown, wants_plain_text, wants_turns
from workers.providers.openai.models import ModelList, Props
from workers.providers.openai.parts import PLAIN_TEXT, with_plain_text
from workers.providers.openai.request import MAX_COMPLETION, to_body
from workers.providers.openai.responses.client import ResponsesApi
from workers.providers.openai.responses.native import native_request
from workers.providers.openai.shapes import NULL
from workers.providers.openai.turns import ALTERNATING
from workers.providers.openai.usage import to_usage
from workers.providers.openai.wire import ChatReader
from workers.providers.replies.vectors import Vector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from shared.models.catalogue import Catalogue
    from shared.openai.embeddings import EmbeddingsRequest
    from shared.openai.request import ChatRequest
    from shared.types import Event, LocalModel
    from workers.providers.images.remote import FetchImage
    from workers.providers.tool_call_state import ToolCallState


class _Vector(msgspec.Struct):
    embedding: Vector
    index: int = 0


class _Vectors(msgspec.Struct):
    usage: msgspec.Raw = NULL


def rejected_fields(rejection: StatusError, request: ChatRequest, *, is_openai: bool = False) -> frozenset[str]:
    """Return what a rejection is about of what a request can go without, `REPLY_FIELDS` being all or none.

    Of OpenAI only what its rejections have been seen to be about.
    """
    if template_failure(rejection.report) is not None:
        return frozenset({ALTERNATING})
    found: set[str] = set()
    # 500: llama.cpp answers so where its chat template fails.
    if not is_openai and rejection.status in {400, 422, 500}:
        if wants_turns(rejection.reason):
            found.add(ALTERNATING)
        if wants_plain_text(rejection.reason) and request.fields["messages"] != _plain(request):
            found.add(PLAIN_TEXT)
    if rejection.status not in {400, 422}:
        return frozenset(found)
    if rejection.report.is_about("stream_options"):
        found.add("stream_options")
    given = [name for name in REPLY_FIELDS if request.mentions(f'"{name}"'.encode())]
    if any(map(rejection.report.is_about, given)):
        found.update(REPLY_FIELDS)
    if wants_short_ids(rejection.report.message):
        found.add(SHORT_IDS)
    if not is_openai:
        known = [name for name in (*WITHOUT_EFFECT, MAX_COMPLETION) if request.fields.get(name) is not None]
        found.update(name for name in known if is_unknown(name, rejection.report, rejection.reason))
    return frozenset(found)


def _plain(request: ChatRequest) -> list[Any]:
    return [with_plain_text(message) for message in request.fields["messages"]]


def to_embed_body(request: EmbeddingsRequest, model: str) -> bytes:
    """Return the body of an embeddings request: the client's fields, with the upstream's name and numbers asked for."""
    return msgspec.json.encode({**request.fields, "model": model, "encoding_format": "float"})


class OpenAIProvider:
    """An OpenAI-compatible server.

    Every request is streamed and asks for usage, also when the client wants neither, so that there is one path.
    The client's other fields are passed on unchanged, also those that OpenAI does not name.

    Args:
        base_url: the server's URL with its version, as in `https://api.openai.com/v1`; see `BaseUrl` for Azure's.
        api_key: sent as a bearer token.
        connections: how many connections may be open at once.
        fetch_image: fetches remote images, which then go out as data; without it the server gets the address, and
            opens a connection to wherever a client says.
        catalogue: what is known of the server's models; without it they are sent all that the client says.
        embeds_as_openai: see `workers.providers.base.Provider`.
        tool_calls: keeps what models thought before they called tools, where that comes over the Responses API.
    """

    name: str = "openai"
    parallel: int | None = None
    prefix: str = ""
    """Stands before the names of its models here, and not at the server."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        connections: int = 64,
        *,
        fetch_image: FetchImage | None = None,
        catalogue: Catalogue | None = None,
        embeds_as_openai: bool = False,
        tool_calls: ToolCallState | None = None,
    ) -> None:
        self._place = BaseUrl(base_url)
        self._upstream = self._place.upstream(api_key, connections)
        self._responses = ResponsesApi(self._upstream, self._place, tool_calls)
        self._fetch_image = fetch_image
        self._catalogue = catalogue
        self.embeds_as_openai = embeds_as_openai
        self._rejected_fields: dict[str, frozenset[str]] = {}
        self._api_key = api_key
        self._beside: Upstream | None = None

    @asynccontextmanager
    async def stream(self, request: ChatRequest, model: str) -> AsyncIterator[AsyncIterator[Sequence[Event]]]:
        """Start a completion; see `workers.providers.base.Provider.stream`.

        A server that rejects `stream_options`, what stands in earlier answers alone (`reasoning_details`, ...), the ids
        of earlier calls, turns that do not alternate, contents in parts or the newer name of the limit is asked once
        more without, and that model never again with them; nor once more with a field that changes no answer.
        """
        requested, speaks_responses = request.body, self._place.has_responses
        images = await fetch_images(requested.messages, self._fetch_image)
        entry = ModelEntry() if self._catalogue is None else self._catalogue.entry(model)
        cannot = entry.lacks_for(requested)
        theirs, is_openai = model.removeprefix(self.prefix), self.embeds_as_openai
        native = native_request(request) if is_openai and speaks_responses else None
        if native is not None:
            async with self._responses.pass_on(request, native, theirs, cannot) as events:
                yield events
            return
        if speaks_responses and entry.is_over_responses(requested.reasoning_effort, has_tools=requested.has_tools):
            async with self._responses.stream(request, theirs, images=images, cannot=cannot) as events:
                yield events
            return
        prepare = partial(to_body, request, theirs, images=images, cannot=cannot, is_openai=is_openai)
        path = self._path("/chat/completions", model)
        reader = partial(
            ChatReader, requested.tool_names, is_regional=self._place.is_regional, is_one=(requested.n or 1) == 1
        )
        left_out = self._rejected_by(theirs)
        # Ends: each round leaves out something more.
        while True:
            body = await work_beside(request.size_bytes, partial(prepare, left_out=left_out))
            try:
                async with self._attempt(path, body, reader()) as events:
                    # Only after it went through without: the rejection may have been about something else.
                    self._rejected_fields[theirs] = self._rejected_by(theirs) | (left_out - WITHOUT_EFFECT)
                    yield events
                    return
            except StatusError as rejection:
                more = rejected_fields(rejection, request, is_openai=is_openai) - left_out
                if not more:
                    raise from_status_error(rejection.failure, rejection.report) from None
                left_out |= more

    def _rejected_by(self, model: str) -> frozenset[str]:
        return self._rejected_fields.get(model, frozenset())

    @asynccontextmanager
    async def _attempt(
        self, path: str, body: bytes, reader: ChatReader
    ) -> AsyncIterator[AsyncIterator[Sequence[Event]]]:
        async with self._upstream.request("POST", path, body, reader) as reply:
            yield reply.batches(reader)

    async def embed(self, request: EmbeddingsRequest, model: str) -> Embedded:
        """Make vectors; see `workers.providers.base.Provider.embed`."""
        body = await work_beside(len(request.raw), partial(to_embed_body, request, model.removeprefix(self.prefix)))
        found, reply = await self._upstream.ask_in_pieces(
            self._path("/embeddings", model), body, name="data", kind=_Vector, whole=_Vectors
        )
        # Their order is not promised.
        found.sort(key=lambda one: one.index)
        usage = to_usage(reply.usage)
        counted, billed_usd = (None, None) if usage is None else (usage.prompt_tokens, usage.billed_usd)
        return Embedded([one.embedding for one in found], counted, billed_usd)

    async def models(self) -> Sequence[LocalModel]:
        """Return the server's models, with what llama.cpp and vLLM say of them; of other servers' nothing is known.

        Raises:
            UpstreamError: it cannot be asked.
        """
        found = await self._upstream.fetch("GET", "/models", None, ModelList)
        props = await self._props() if found.is_llama_cpp else Props()
        self.parallel = props.total_slots
        models = found.to_models(props.chat_template_caps)
        if self.embeds_as_openai and not self._place.has_responses:
            models = [msgspec.structs.replace(model, cannot=(*model.cannot, NATIVE_ONLY)) for model in models]
        return models

    async def _props(self) -> Props:
        """Ask llama.cpp what its model's chat template can say (it drops the rest), and how many slots there are."""
        if self._beside is None:  # llama.cpp's own calls are beside its /v1
            root = self._place.base_url.removesuffix("/v1")
            self._beside = Upstream(root, api_key=self._api_key, connections=1)
        try:
            return await self._beside.fetch("GET", "/props", None, Props)
        except GatewayError:  # an older server, or one that keeps it to itself
            return Props()

    def _path(self, path: str, model: str) -> str:
        return self._place.path(path, model.removeprefix(self.prefix))

    async def close(self) -> None:
        await self._upstream.close()
        if self._beside is not None:
            await self._beside.close()
