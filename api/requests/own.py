"""Requests of the gateway's own: query vectors, titles and the like, by the way of all others, without HTTP.

They carry a `purpose` and the key that caused them, or none. They go to the local tier alone, and with
`CLAW_OWN_REQUESTS=free` to the free accounts too; never to a paid API, which nobody has asked for.
"""

from __future__ import annotations

import asyncio
import base64
import sys
import time
from array import array
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from api.admission.admit import QueueUnavailable
from api.admission.auth import Principal
from api.requests.checked_body import CheckedBody
from api.requests.lifecycle import InflightRequest
from api.requests.own_request import OwnRequest, OwnVectors
from api.routing.eligibility import RoutingRequest
from api.routing.key_bounds import KeyBounds
from shared.errors import Cancelled, Draining, GatewayError, Malformed
from shared.ids import job_id, new_request_id
from shared.process.tracing.context import TRACE
from shared.queue.placement import PlacementOptions
from shared.types import Endpoint, JobDraft
from shared.usage import UsageRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from api.requests.services import RequestServices

_Answer = TypeVar("_Answer")
_BOUNDS: Final = {"local": KeyBounds(tiers=("local",)), "free": KeyBounds(tiers=("local", "gemini"))}
_MODELS: Final = {"local": "local", "free": "auto"}  # `auto` within those bounds


class _Embedding(msgspec.Struct):
    embedding: str


class _Embeddings(msgspec.Struct):
    model: str
    data: list[_Embedding]


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message


class _Chat(msgspec.Struct):
    choices: list[_Choice]


async def chat(services: RequestServices, own: OwnRequest, messages: Sequence[Mapping[str, str]], **fields: Any) -> str:
    """Return what a model answers.

    Args:
        services: what requests use of their process.
        own: what it is for.
        messages: OpenAI's.
        fields: further ones of a chat completion; without `model` any local one answers.

    Raises:
        TimeoutError: there was no answer in time; it is stopped.
        GatewayError: it was refused (`Overloaded` where a queue is full or no worker is there, `UnknownModel`, ...) or
            it failed.
    """
    model = _MODELS[services.settings.own_requests]
    body = await ask(services, own, "chat", {"model": model, **fields, "messages": list(messages)})
    choices = _decoded(body, _Chat).choices
    return (choices[0].message.content or "") if choices else ""


async def embed(
    services: RequestServices, own: OwnRequest, model: str, texts: Sequence[str], **fields: Any
) -> OwnVectors:
    """Return the vectors of texts; the errors are those of `chat`.

    Args:
        services: what requests use of their process.
        own: what they are for.
        model: `local` for any.
        texts: none is empty.
        fields: further ones of an embeddings request.
    """
    wanted = {**fields, "model": model, "input": list(texts), "encoding_format": "base64"}
    answer = _decoded(await ask(services, own, "embeddings", wanted), _Embeddings)
    if len(answer.data) != len(texts):
        raise Malformed("The model has not made one vector for each text.")
    return OwnVectors(answer.model, [_vector(each.embedding) for each in answer.data])


async def ask(services: RequestServices, own: OwnRequest, endpoint: Endpoint, body: Mapping[str, Any]) -> bytes:
    """Return the whole answer, in OpenAI's format; the errors are those of `chat`.

    Args:
        services: what requests use of their process.
        own: what it is for.
        endpoint: what is asked of the model.
        body: of OpenAI's format; it is not streamed.
    """
    work = _whole(services, own, endpoint, msgspec.json.encode({**body, "stream": False}))
    # In a task of its own: a request ends with the task that began it, and its caller's may go on for days.
    task = asyncio.get_running_loop().create_task(work, name=f"own request: {own.purpose}")
    async with asyncio.timeout(own.timeout_s):
        try:
            return await task
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            # The caller's own end, or the end of its time; else it was the request that was stopped.
            if caller is None or caller.cancelling():
                raise
            raise Cancelled("The request was stopped.") from None


async def _whole(services: RequestServices, own: OwnRequest, endpoint: Endpoint, raw: bytes) -> bytes:
    inflight = await _begin(services, own, endpoint, raw)
    parts = []
    while (chunk := await inflight.read()) is not None:
        parts.append(chunk)
    return b"".join(parts)


async def _begin(services: RequestServices, own: OwnRequest, endpoint: Endpoint, raw: bytes) -> InflightRequest:
    now_ms = int(time.time() * 1000)
    ends_ms = now_ms + int(own.timeout_s * 1000)
    principal = Principal(own.key_id, 0, admin_allowed=False, bounds=_BOUNDS[services.settings.own_requests])
    checked = CheckedBody.of_chat(raw) if endpoint == "chat" else CheckedBody.of_embeddings(raw)
    draft = JobDraft(
        request_id=new_request_id(),
        attempt=1,
        api_id=services.api_id,
        endpoint=endpoint,
        requested_model=checked.model,
        stream=False,
        key_id=own.key_id,
        admitted_ms=now_ms,
        expires_ms=ends_ms,
        patient_until_ms=min(ends_ms, now_ms + int(services.settings.queue_timeout_s * 1000)),
        purpose=own.purpose,
        trace=TRACE.get(),
        body=msgspec.Raw(raw),
    )
    try:
        return await _admitted(services, principal, draft, checked, own)
    except (GatewayError, asyncio.CancelledError) as error:
        _refuse(services, draft, error)
        raise


async def _admitted(
    services: RequestServices, principal: Principal, draft: JobDraft, checked: CheckedBody, own: OwnRequest
) -> InflightRequest:
    services.check_open()
    # All that was open is being ended now: what is admitted later would be ended by nobody.
    if services.relay.is_aborted:
        raise Draining("This gateway process is shutting down.", retry_after_s=1)
    wanted = RoutingRequest(
        model=checked.model,
        endpoint=draft.endpoint,
        prompt_tokens=checked.prompt_tokens,
        output_tokens=checked.output_tokens,
        choices=checked.choices,
        needs=checked.needs,
        bounds=principal.bounds,
    )
    inflight = InflightRequest(
        services,
        draft,
        prompt_tokens=checked.prompt_tokens,
        candidates=services.route(wanted),
        options=PlacementOptions(
            priority="normal" if own.is_awaited else "low",
            most_waiting=services.settings.max_waiting_jobs,
            most_waiting_bytes=services.settings.max_waiting_bytes,
        ),
        abort=_nothing,
        release=_nothing,
    )
    await inflight.begin(principal)
    return inflight


def _refuse(services: RequestServices, draft: JobDraft, error: BaseException) -> None:
    """Log a request that did not get as far as its admission."""
    known = error if isinstance(error, GatewayError) else Cancelled("Nobody waits for it any more.")
    duration_ms = max(0, int(time.time() * 1000) - draft.admitted_ms)
    opened = UsageRecord.opened(draft)
    record = msgspec.structs.replace(opened, status=known.status, error_code=known.code, duration_ms=duration_ms)
    if isinstance(error, QueueUnavailable):
        services.usage_log.refuse_unconfirmed(record, job_id(draft.request_id, 1))
    else:
        services.usage_log.add(record, 0)


def _nothing() -> None:
    """Hold nothing of a client: there is none."""


def _decoded(body: bytes, kind: type[_Answer]) -> _Answer:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError:
        raise Malformed("The model's answer cannot be read.") from None


def _vector(encoded: str) -> array[float]:
    vector = array("f", base64.b64decode(encoded))
    # OpenAI's base64 is of little-endian floats.
    if sys.byteorder == "big":
        vector.byteswap()
    return vector
