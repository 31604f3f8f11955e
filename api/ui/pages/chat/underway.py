"""The answer that comes in a session now, for a page that has not asked for it: what is kept of it in Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from api.endpoints.manage.usage import wait_until_recorded
from api.endpoints.queue.requests import current_state
from api.gateway import gateway
from api.ui.markdown.render import rendered
from api.ui.pages.chat.conversation import ShownMessage, Underway, images_of
from api.ui.pages.chat.key import chat_key_id
from shared.openai.sessions.messages import text_of
from shared.openai.sessions.turn import TurnHead
from shared.openai.sessions.turn_end import THOUGHTS
from shared.queue.inspection import present_job
from shared.redis.names import answer_key, lease_key, owner_of, queue_of_place, thoughts_key, turn_key, turns_key

if TYPE_CHECKING:
    from typing import Any
    from uuid import UUID

    from api.requests.open_requests import RequestState

_head: Final = msgspec.json.Decoder(TurnHead)


async def request_under_way(session_id: UUID) -> str | None:
    """Return the id of the request that has a session of the chat now; None where none has it.

    Raises:
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    held = await gateway().redis.get(lease_key(str(session_id)))
    owner, _, request_id = (held or b"").decode().partition(" ")
    return request_id if request_id and owner == owner_of(str(await chat_key_id())) else None


async def under_way(session_id: UUID) -> Underway | None:
    """Return the answer that comes in a session now; where it has just ended, nothing before it can be read.

    Raises:
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    redis = gateway().redis
    request_id = await request_under_way(session_id)
    if request_id is None:
        # Its turn is on its way into PostgreSQL.
        if await redis.exists(turns_key(str(session_id))):
            await wait_until_recorded(redis)
        return None
    raw_head, raw_answer, raw_thoughts = await redis.mget(
        turn_key(request_id), answer_key(request_id), thoughts_key(request_id)
    )
    if not raw_head:
        return Underway(request_id=request_id, questions=())
    head = _head.decode(raw_head.partition(b" ")[2])  # the session's id is before it
    answer: dict[str, Any] = msgspec.json.decode(raw_answer) if raw_answer else {}
    text = text_of(answer)
    thoughts = answer.get(THOUGHTS) or (msgspec.json.decode(raw_thoughts) if raw_thoughts else "")
    state = await current_state(redis, request_id)
    return Underway(
        request_id=request_id,
        questions=tuple(map(_question, head.messages)),
        after=head.after,
        thoughts=thoughts,
        text=text,
        html=await rendered(text) if text else None,
        state=await _state_text(state, is_thinking=bool(thoughts and not text)),
    )


async def _state_text(state: RequestState | None, *, is_thinking: bool) -> str:
    if state is None:
        return "Still answering"
    if state.state != "waiting":
        return "Thinking" if is_thinking else f"{state.tier} \N{MIDDLE DOT} {state.model}"
    redis = gateway().redis
    job = await present_job(redis, state.request_id)
    rank = None if job is None else await redis.zrank(queue_of_place(state.backend), job)
    if rank is None:
        return "Waiting"
    return f"Waiting: place {rank + 1}" if rank else "Next in the queue"


def _question(raw: msgspec.Raw) -> ShownMessage:
    message = msgspec.json.decode(raw)
    return ShownMessage(role=message.get("role", ""), text=text_of(message), images=images_of(message.get("content")))
