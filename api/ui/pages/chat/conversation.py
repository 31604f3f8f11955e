"""The messages of a conversation, as a page shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import msgspec
from markupsafe import Markup

from api.endpoints.manage.sessions.arguments import UNKNOWN
from api.gateway import gateway
from api.ui.markdown.render import rendered
from api.ui.pages.chat.key import chat_key_id
from api.ui.pages.chat.question import IMAGE
from shared.errors import NotFound
from shared.postgres.session_directory import SessionDirectory, UnknownMessage, first_words
from shared.postgres.ui.chat import ChatStore
from shared.process.tasks import Pauses
from shared.types import Tier

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.postgres.session_directory import Message
    from shared.postgres.sessions import Session

MOST_SHOWN: Final = 40
MOST_MARKDOWN_CHARS: Final = 300_000
"""Of one page; what is beyond is shown as it was written."""
_TIERS: Final[Mapping[str, Tier]] = {"local": "local", "free_gemini": "gemini", "api_key": "paid"}
_STATES: Final = {"cut": "Cut off: it reached the longest length", "broken": "Broken off", "cancelled": "Stopped"}


class Call(msgspec.Struct, frozen=True):
    """A function that a model wanted to be called."""

    name: str
    arguments: str


class ShownMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message; of an answer `html` is its text, and who gave it is known. One without an `id` is not stored yet."""

    id: str = ""
    request_id: str = ""
    role: str
    text: str
    html: Markup | None = None
    thoughts: str = ""
    images: tuple[str, ...] = ()
    calls: tuple[Call, ...] = ()
    note: str = ""
    tier: Tier | None = None
    model: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    latency_ms: int | None = None
    cost_usd: float | None = None
    is_last: bool = False


class Underway(msgspec.Struct, frozen=True, kw_only=True):
    """An answer on its way; `after` is the stored message, by request and place there, that its question follows.

    Without an `after` it follows all that is stored; `state` is for people.
    """

    request_id: str
    questions: tuple[ShownMessage, ...]
    after: tuple[str, int] | None = None
    thoughts: str = ""
    text: str = ""
    html: Markup | None = None
    state: str = "Asking"

    @property
    def title(self) -> str:
        """Return what its session is called while it is not stored yet."""
        return first_words(self.questions[-1].text) if self.questions else ""


class _Function(msgspec.Struct):
    name: str = ""
    arguments: str = ""


class _ToolCall(msgspec.Struct):
    function: _Function = msgspec.field(default_factory=_Function)


class _Stored(msgspec.Struct):
    """The parts of a message besides its text."""

    content: Any = None
    tool_calls: list[_ToolCall] | None = None


async def own_session(session_id: UUID) -> Session:
    """Return a session of the chat.

    Raises:
        NotFound: there is none of this id, or it is another key's.
    """
    session = await SessionDirectory(gateway().database).find(session_id)
    if session is None or session.key_id != await chat_key_id():
        raise NotFound(UNKNOWN)
    return session


async def shown_messages(
    session_id: UUID, before: UUID | None = None, underway: Underway | None = None
) -> tuple[list[ShownMessage], bool]:
    """Return the last messages of a session in their order, and whether there are earlier ones.

    Args:
        session_id: of which one.
        before: only those before this message.
        underway: an answer on its way, with the questions that it follows.

    Raises:
        NotFound: there is no message to be before of.
    """
    stored = SessionDirectory(gateway().database)
    try:
        newest = await stored.messages(session_id, MOST_SHOWN + 1, before)
        # Fewer may be so for their size.
        more = len(newest) > MOST_SHOWN or bool(newest and await stored.messages(session_id, 1, newest[-1].id))
    except UnknownMessage:
        raise NotFound("There is no such message.") from None
    shown = newest[:MOST_SHOWN][::-1]
    if underway is not None and before is None:
        return [*await to_shown_messages(before_it(shown, underway.after), is_end=False), *underway.questions], more
    return await to_shown_messages(shown, is_end=before is None), more


async def messages_of_request(session_id: UUID, request_id: UUID) -> list[ShownMessage]:
    """Return what one request brought, and its answer."""
    messages = await SessionDirectory(gateway().database).messages(session_id, MOST_SHOWN)
    return await to_shown_messages([each for each in messages[::-1] if each.request_id == request_id], is_end=True)


async def preceding(session_id: UUID, message_id: UUID) -> UUID | None:
    """Return the message before one; None where that is the first.

    Raises:
        NotFound: the session has no such message.
    """
    try:
        found = await SessionDirectory(gateway().database).messages(session_id, 1, message_id)
    except UnknownMessage:
        raise NotFound("There is no such message.") from None
    return found[0].id if found else None


async def to_shown_messages(messages: Sequence[Message], *, is_end: bool) -> list[ShownMessage]:
    """Return stored messages as they are shown.

    Args:
        messages: in their order.
        is_end: whether the last of them is the session's.
    """
    costs = await _costs(messages)
    last = max((at for at, each in enumerate(messages) if each.role == "assistant"), default=-1) if is_end else -1
    found, left, pauses = [], MOST_MARKDOWN_CHARS, Pauses()
    for at, each in enumerate(messages):
        await pauses()
        html = None
        if each.role == "assistant":
            left -= len(each.content)
            html = await rendered(each.content) if left >= 0 else None
        found.append(to_shown(each, html, costs.get(each.request_id), is_last=at == last))
    return found


def before_it(messages: Sequence[Message], after: tuple[str, int] | None) -> Sequence[Message]:
    """Return those of the last stored messages that a question on its way does not take the place of."""
    if after is None:
        return messages
    request_id, place = after
    own = [at for at, each in enumerate(messages) if each.request_id.hex == request_id]
    # Where the message before is none of its request, the place is the one before that begins.
    return messages[: own[0] + place + 1] if own else messages


def to_shown(message: Message, html: Markup | None, cost_usd: float | None, *, is_last: bool = False) -> ShownMessage:
    """Return a stored message as it is shown. Pure."""
    try:
        stored = msgspec.json.decode(message.message, type=_Stored)
    except (msgspec.MsgspecError, RecursionError):
        stored = _Stored()
    is_answer = message.role == "assistant"
    return ShownMessage(
        id=str(message.id),
        request_id=message.request_id.hex,
        role=message.role,
        text=message.content,
        html=html,
        thoughts=message.reasoning or "",
        images=images_of(stored.content),
        calls=tuple(Call(each.function.name, each.function.arguments) for each in stored.tool_calls or ()),
        note=_STATES.get(message.state, "") if is_answer else "",
        tier=_TIERS.get(message.tier_source or ""),
        model=message.model_used or "",
        input_tokens=message.input_tokens,
        output_tokens=message.output_tokens,
        latency_ms=message.latency_ms,
        cost_usd=cost_usd if is_answer else None,
        is_last=is_last,
    )


def images_of(content: Any) -> tuple[str, ...]:
    """Return the images of a message that it brings itself; none is loaded from anywhere."""
    parts = content if isinstance(content, list) else []
    urls = [
        part["image_url"].get("url")
        for part in parts
        if isinstance(part, dict) and isinstance(part.get("image_url"), dict)
    ]
    return tuple(url for url in urls if isinstance(url, str) and IMAGE.fullmatch(url))


async def _costs(messages: Sequence[Message]) -> dict[UUID, float]:
    answers = [each for each in messages if each.role == "assistant"]
    if not answers:
        return {}
    store = ChatStore(gateway().database)
    # With a day to begin from PostgreSQL leaves the older partitions out.
    return await store.costs([each.request_id for each in answers], min(each.created_at for each in answers))
