"""Pages of the chat, and the parts of them that a script asks for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import msgspec
from quart import Response, request

from api.endpoints.manage.sessions.arguments import cursor_argument, session_uuid, to_cursor
from api.endpoints.manage.sessions.listing import MOST_QUERY_CHARS
from api.endpoints.manage.usage import wait_until_recorded
from api.endpoints.models import servable_now
from api.gateway import gateway
from api.http.body import read_body
from api.routing.key_bounds import NO_KEY_BOUNDS
from api.ui.forms import unaudited
from api.ui.links import url
from api.ui.markdown.render import MOST_CHARS, rendered
from api.ui.navigation import CHAT
from api.ui.pages.chat.conversation import ShownMessage, Underway, messages_of_request, own_session, shown_messages
from api.ui.pages.chat.key import chat_key_id
from api.ui.pages.chat.question import Choices, Question, choices_of
from api.ui.pages.chat.underway import under_way
from api.ui.render import fragment, render, see_other
from shared.errors import InvalidRequest, NotFound
from shared.ids import new_request_id
from shared.models.catalogue import AUTO, LOCAL
from shared.postgres.session_directory import Found, SessionDirectory, SessionFilter
from shared.types import TIERS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from shared.errors import GatewayError
    from shared.postgres.sessions import Session

PAGE: Final = 40
_AGES: Final = (
    (timedelta(days=1), "Last 24 hours"),
    (timedelta(days=7), "Last 7 days"),
    (timedelta(days=30), "Last 30 days"),
)
_EARLIER: Final = "Earlier"


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """The side list: sessions by their age, or what a search found, and where its next page begins.

    `begun` is what the present one is called whose first answer is still on its way.
    """

    groups: list[tuple[str, list[Session]]]
    found: list[Found]
    query: str
    is_archived: bool
    next_cursor: str = ""
    begun: str = ""


class _Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    text: str


async def show_new_chat() -> Response:
    """Show an empty conversation, or lead to what its question has become."""
    given = request.args.get("session")
    # A question that was edited, and one that was just asked, have an id for their session already.
    session_id = session_uuid(given or new_request_id())
    if given and await _has_begun(session_id):
        return see_other(url("chat", str(session_id)))
    return await chat_page(session_id, choices_of(request.args), is_new=True)


async def _has_begun(session_id: UUID) -> bool:
    # A session is stored with its first answer, and not before.
    if await under_way(session_id) is not None:
        return True
    try:
        await own_session(session_id)
    except NotFound:
        return False
    return True


async def show_chat(session_id: str) -> Response:
    return await chat_page(session_uuid(session_id), choices_of(request.args))


async def show_chat_list() -> Response:
    """Show the side list alone."""
    current = request.args.get("current", "")
    underway = await under_way(session_uuid(current)) if current else None
    return await fragment("chat/list.html", listed=await _listed(current, underway), current=current)


async def show_underway(session_id: str, request_id: str) -> Response:
    """Show how far an answer has come; nothing once it comes no more."""
    found = await under_way(session_uuid(session_id))
    if found is None or found.request_id != session_uuid(request_id.removeprefix("req_")).hex:
        return not_yet()
    return await fragment("chat/underway.html", underway=found)


async def show_turn(session_id: str, request_id: str) -> Response:
    """Show a question and its answer as they are stored now; nothing while they are not."""
    wanted = session_uuid(session_id)
    await wait_until_recorded(gateway().redis)
    try:
        session = await own_session(wanted)
    except NotFound:
        return not_yet()
    found = await messages_of_request(wanted, session_uuid(request_id.removeprefix("req_")))
    if not found:
        return not_yet()
    return await fragment(
        "chat/turn.html",
        messages=found,
        session=session,
        shown_title=title_of(session),
        choices=choices_of(request.args),
    )


def not_yet() -> Response:
    """Return what a script asks again after: no error, since its request may be about to be stored."""
    return Response(b"", status=204)


@unaudited
async def show_markdown() -> Response:
    """Show a text as the page would, while its answer is still on the way."""
    try:
        text = msgspec.json.decode(await read_body(request), type=_Text).text
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(str(error)) from None
    if len(text) > MOST_CHARS:
        raise InvalidRequest("The text is too long to be shown as Markdown.")
    return Response(str(await rendered(text)), content_type="text/html; charset=utf-8")


async def chat_page(
    session_id: UUID, choices: Choices, *, is_new: bool = False, error: GatewayError | None = None
) -> Response:
    """Return the page of a conversation.

    Args:
        session_id: of a session, or of one that is to begin.
        choices: what its form begins with; of a `Question` that failed also its text.
        is_new: whether it is to begin.
        error: why nothing came of what was asked.
    """
    session, messages, more = None, list[ShownMessage](), False
    underway = None if is_new else await under_way(session_id)
    if underway is not None:
        messages = list(underway.questions)
    if not is_new:
        try:
            session = await own_session(session_id)
            messages, more = await shown_messages(session_id, _before(), underway)
        except NotFound:
            if error is None and underway is None:
                raise
    return await render(
        "chat/page.html",
        CHAT,
        status=200 if error is None else error.status,
        session_id=str(session_id),
        session=session,
        shown_title=(session is None and underway and underway.title) or title_of(session),
        messages=messages,
        underway=None if _before() else underway,
        earlier=messages[0].id if more and messages else "",
        choices=choices,
        draft=choices.text if isinstance(choices, Question) and not choices.again else "",
        error=error,
        models=models(choices.model),
        tiers=TIERS,
        listed=await _listed(str(session_id), underway),
        current="" if is_new else str(session_id),
    )


def title_of(session: Session | None) -> str:
    """Return what a session is called."""
    return "New chat" if session is None else session.title or session.auto_title or "Chat"


def models(chosen: str) -> list[tuple[str, list[str]]]:
    """Return the names that can be asked for now, by who has them; one that was chosen always among them."""
    groups: dict[str, list[str]] = {}
    listed = servable_now(NO_KEY_BOUNDS)
    for name in sorted(listed, key=str.lower):
        if name not in {AUTO, LOCAL} and "embed" not in name:  # the list does not say what a model is for
            groups.setdefault(str(listed[name]["owned_by"]).capitalize(), []).append(name)
    if chosen not in {AUTO, LOCAL, *listed}:
        groups.setdefault("Not served now", []).append(chosen)
    return sorted(groups.items())


def by_age(sessions: Sequence[Session], now: datetime) -> list[tuple[str, list[Session]]]:
    """Return sessions in groups by when they were last used, the newest first. Pure."""
    groups: dict[str, list[Session]] = {}
    for each in sessions:
        age = now - each.last_message_at
        groups.setdefault(next((name for most, name in _AGES if age <= most), _EARLIER), []).append(each)
    return list(groups.items())


def _before() -> UUID | None:
    text = request.args.get("before")
    return session_uuid(text) if text else None


async def _listed(current: str, underway: Underway | None) -> Listed:
    """Return the side list that the query asks for.

    Args:
        current: the session that is open.
        underway: the answer that comes in it.
    """
    # PostgreSQL's texts have no NUL.
    query = request.args.get("q", "").strip().replace("\x00", "")[:MOST_QUERY_CHARS]
    is_archived = request.args.get("archived") == "true"
    wanted = SessionFilter(await chat_key_id(), is_archived=None if query else is_archived)
    stored = SessionDirectory(gateway().database)
    if query:
        found, _ = await stored.search(wanted, query, PAGE)
        return Listed(groups=[], found=found, query=query, is_archived=is_archived)
    sessions = await stored.page(wanted, PAGE, cursor_argument())
    next_cursor = to_cursor(sessions[-1]) if len(sessions) == PAGE else ""
    is_begun = underway is not None and not is_archived and current not in {str(each.id) for each in sessions}
    # It may be stored, and on a later page of the list.
    is_begun = is_begun and await stored.find(session_uuid(current)) is None
    return Listed(
        groups=by_age(sessions, datetime.now(UTC)),
        found=[],
        query="",
        is_archived=is_archived,
        next_cursor=next_cursor,
        begun=(underway.title or title_of(None)) if underway is not None and is_begun else "",
    )
