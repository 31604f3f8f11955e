"""Asking: a question of the chat goes the way of every chat completion, under the chat's own key."""

from __future__ import annotations

import base64
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec
from quart import Response, g, request
from werkzeug.datastructures import Headers

from api.endpoints.manage.sessions.arguments import session_uuid
from api.endpoints.manage.sessions.operations import branch_session
from api.endpoints.manage.usage import wait_until_recorded
from api.endpoints.queue.cancelling import cancel
from api.gateway import gateway
from api.http.body import read_body
from api.requests.background.request import attended
from api.requests.checked_body import CheckedBody
from api.requests.context import RequestContext
from api.server.scope import ABORT
from api.ui.forms import form, unaudited
from api.ui.links import url
from api.ui.pages.chat.conversation import own_session, preceding
from api.ui.pages.chat.detached import detached_response
from api.ui.pages.chat.key import chat_principal
from api.ui.pages.chat.question import (
    IMAGE_TYPES,
    MOST_IMAGE_BYTES,
    question_of_form,
    question_of_json,
    to_body,
    to_headers,
    to_message,
)
from api.ui.pages.chat.show import chat_page
from api.ui.pages.chat.underway import request_under_way
from api.ui.render import see_other
from api.ui.state import visit
from shared.errors import Draining, GatewayError, InvalidRequest, NotFound
from shared.ids import new_request_id
from shared.postgres.audit import AuditLog
from shared.postgres.session_directory import SessionDirectory
from shared.process.tasks import work_beside
from shared.relay import CancelReason

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from api.requests.lifecycle import InflightRequest
    from api.ui.pages.chat.question import Question

_LOOKED_AT: Final = 50
"""Among how many of the last messages a question is looked for."""


@unaudited
async def stream_answer() -> Response:
    """Answer as events: the same bytes, and the same headers, as /v1/chat/completions."""
    raw = await read_body(request)
    question = await work_beside(len(raw), lambda: question_of_json(raw))
    return await detached_response(lambda: _begun(question, stream=True))


@unaudited
async def stop_answer(session_id: str) -> Response:
    """Stop the answer that comes in a session; what came of it stays. Nothing is wrong where it has just ended."""
    request_id = await request_under_way(session_uuid(session_id))
    if request_id is not None:
        with suppress(NotFound):
            await cancel(gateway().redis, request_id, CancelReason.BY_OWNER)
    return Response(b"", status=204)


@unaudited
async def send_question() -> Response:
    """Answer a form, for who has no script: the page comes back with the whole answer."""
    images, fields = await _images(), form()
    # Of large images that is tens of milliseconds.
    question = await work_beside(sum(map(len, images)), lambda: question_of_form(fields, images))
    return await _answered(question)


@unaudited
async def answer_again(session_id: str) -> Response:
    """Answer the last question of a session again."""
    question = question_of_form(form(), session_id=str(session_uuid(session_id)), again=True)
    return await _answered(question)


@unaudited
async def edit_question(session_id: str) -> Response:
    """Ask something else in place of an earlier question, in a new session of what was said before it."""
    new = await branch_before(session_uuid(session_id), form().get("message_id", ""))
    details = {"request_id": g.request_id, "session_id": session_id, "made": str(new)}
    # By hand: to ask leaves no entry, but here a session is made of another one.
    await AuditLog(gateway().database).add("branch_chat", visit().actor, details)
    return await _answered(question_of_form(form(), session_id=str(new)))


async def branch_before(session_id: UUID, message_id: str) -> UUID:
    """Return a new session of the messages before one; where there are none, the id of a session that is to begin.

    Raises:
        NotFound: there is no such session of the chat, or no such message in it.
    """
    await own_session(session_id)
    before = await preceding(session_id, session_uuid(message_id))
    return session_uuid(new_request_id()) if before is None else (await branch_session(session_id, before)).id


async def _answered(question: Question) -> Response:
    try:
        _, inflight = await _begun(question, stream=False)
        while await inflight.read() is not None:
            pass  # the page shows what is stored
    except GatewayError as error:
        g.failure = f"{error.status} {error.code or error.type}"  # a line in the log
        return await chat_page(question.session_id, question, error=error)
    await wait_until_recorded(gateway().redis)
    return see_other(url("chat", str(question.session_id), query=question.query) + "#end")


async def _begun(question: Question, *, stream: bool) -> tuple[RequestContext, InflightRequest]:
    """Admit a question as a request of the key `web-ui`.

    Raises:
        GatewayError: it was refused, and is in the usage log.
    """
    parts = gateway()
    context = RequestContext(parts.usage_log, await chat_principal(), "chat", g.request_id, question.model)
    context.check_refusals()
    context.is_anew = question.again
    with context.refusals():
        if parts.drained:
            raise Draining("This gateway process is shutting down.", retry_after_s=1)
        message = await _last_question(question.session_id) if question.again else to_message(question)
        size = sum(map(len, (question.text, *question.images)))
        context.body, checked = await work_beside(size, lambda: _checked(to_body(question, message, stream=stream)))
        with _as_client(to_headers(question)):
            return context, attended(await context.begin(parts.requests, "chat", checked))


def _checked(raw: bytes) -> tuple[bytes, CheckedBody]:
    return raw, CheckedBody.of_chat(raw)


@contextmanager
def _as_client(headers: dict[str, str]) -> Iterator[None]:
    """Let the current request have the headers of the API that its question stands for, and no others.

    What is said of a failure goes by its own again: a script gets no page.
    """
    own, scope = request.headers, request.scope
    request.headers = Headers(headers)
    given = [(name.encode(), value.encode()) for name, value in headers.items()]
    # Its answer may go on after its connection, on which there may be another request by then.
    request.scope = {**scope, "headers": given, ABORT: bool}  # type: ignore[assignment]  # a scope of the same kind
    try:
        yield
    finally:
        request.headers, request.scope = own, scope


async def _last_question(session_id: UUID) -> Any:
    """Return the last message of a user, as it was sent.

    Raises:
        NotFound: there is none.
    """
    await wait_until_recorded(gateway().redis)
    await own_session(session_id)
    messages = await SessionDirectory(gateway().database).messages(session_id, _LOOKED_AT)
    found = next((each for each in messages if each.role == "user"), None)
    if found is None:
        raise NotFound("There is no question to be answered again.")
    return msgspec.Raw(found.message.encode())


async def _images() -> tuple[str, ...]:
    """Return the images of a form as data URLs.

    Raises:
        InvalidRequest: one is something else, or too large.
    """
    found = []
    for file in (await request.files).getlist("images"):
        content = file.read(MOST_IMAGE_BYTES + 1)  # one more tells that it is too large
        if not content:
            continue
        if len(content) > MOST_IMAGE_BYTES or file.mimetype not in IMAGE_TYPES:
            raise InvalidRequest("Images are PNG, JPEG, WebP or GIF, of at most 4 MiB.", param="images")
        found.append(f"data:{file.mimetype};base64,{base64.b64encode(content).decode()}")
    return tuple(found)
