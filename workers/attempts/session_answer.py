"""The answer of a session's request, which becomes a turn: folded beside the relay, and kept in Redis while it comes.

What is kept is for whoever closes the request should this process die: at most once a second, bounded, expiring.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from shared.errors import Cancelled
from shared.openai.reply import CompletionFold
from shared.openai.sessions.messages import MOST_MESSAGE_BYTES
from shared.openai.sessions.turn_end import MOST_THOUGHTS_CHARS, THOUGHTS, TurnEnd
from shared.process.tasks import work_beside
from shared.redis.names import answer_key, thoughts_key
from workers.attempts.periodic_writer import LIFE_S, PeriodicWriter
from workers.attempts.stored_answer import StoredAnswer

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from shared.dialects.stored.pending import ResponseEnd
    from shared.errors import GatewayError
    from shared.types import Event, Job

MOST_ANSWER_CHARS: Final = 4 * MOST_MESSAGE_BYTES
"""Longer answers are stored without their end, and so as cut: no model answers as much."""
_CONTENT: Final = ("content", "refusal", "tool_calls", "function_call")
_LEFT_OUT: Final = frozenset({THOUGHTS, "annotations"})
"""Nobody sends it back to a model. Thoughts go with the message as far as the recorder, which parts the two."""


class SessionAnswer:
    """The answer of one attempt, its first choice where there are several.

    Args:
        redis: where it is kept.
        job: the attempt; its request has a session.
    """

    def __init__(self, redis: Redis, job: Job) -> None:
        self._redis = redis
        self._key, self._thoughts_key = answer_key(job.request_id), thoughts_key(job.request_id)
        self._fold = CompletionFold()
        self._keeping = PeriodicWriter(self._keep)

    def follow(self, reply: object) -> None:
        """Do nothing: what makes the client's bytes knows less than this."""

    def add(self, event: Event) -> None:
        """Add what the model has said."""
        self._fold.add(event)
        self._keeping.note()

    def stop(self) -> None:
        """Keep no more of it."""
        self._keeping.stop()

    def end(self, error: GatewayError | None) -> TurnEnd:
        """Return how the turn ended, with the whole answer.

        Args:
            error: how the request failed; None where it did not.
        """
        message, reason, is_short = self._message(is_whole=error is None)
        answer = b"" if message is None else msgspec.json.encode(message)
        if error is not None:
            return TurnEnd("cancelled" if isinstance(error, Cancelled) else "broken", answer)
        return TurnEnd("cut" if is_short or reason in {"length", "content_filter"} else "complete", answer)

    def _message(self, *, is_whole: bool) -> tuple[dict[str, Any] | None, str | None, bool]:
        """Return the message, None where nothing is said; why it ended; and whether its end is left out."""
        choice = self._fold.choice(0)
        message = {name: value for name, value in choice["message"].items() if value is not None}
        thoughts = (message.get(THOUGHTS) or "")[:MOST_THOUGHTS_CHARS]
        message = {name: value for name, value in message.items() if name not in _LEFT_OUT}
        if not is_whole or choice["finish_reason"] == "length":
            # A call that may have been broken off is none.
            _drop_unsound_calls(message, are_all=not is_whole)
        if not any(message.get(name) for name in _CONTENT):
            return None, None, False
        content = message.get("content") or ""
        message["content"] = content[:MOST_ANSWER_CHARS] if content else None
        if message["content"] is None and not (message.get("tool_calls") or message.get("function_call")):
            # OpenAI wants a content where there are no calls: beside a refusal it is empty.
            message["content"] = ""
        if thoughts:
            message[THOUGHTS] = thoughts
        return message, choice["finish_reason"], len(content) > MOST_ANSWER_CHARS

    async def _keep(self) -> None:
        message, *_ = self._message(is_whole=False)
        # Apart while nothing is said: whoever closes for this process would take them for an answer.
        key, kept = (self._thoughts_key, self._thoughts()) if message is None else (self._key, message)
        if kept:
            await self._redis.set(key, msgspec.json.encode(kept), ex=LIFE_S)

    def _thoughts(self) -> str:
        thoughts: str = self._fold.choice(0)["message"].get(THOUGHTS) or ""
        return thoughts[:MOST_THOUGHTS_CHARS]


class KeptAnswer(Protocol):
    """An observer of the answer of one attempt."""

    def follow(self, reply: object) -> None:
        """Take note of what makes the client's bytes."""
        ...

    def add(self, event: Event) -> None:
        """Add what the model has said."""
        ...

    def stop(self) -> None:
        """Keep no more of it: it has ended."""
        ...

    def end(self, error: GatewayError | None) -> TurnEnd | ResponseEnd | None:
        """Return what the closing of its request leaves; `error` is how it failed, None where it did not."""
        ...


def answer_of(redis: Redis, job: Job) -> KeptAnswer | None:
    """Return what keeps the answer of a job, None where nobody will ask for it."""
    if job.session_id:
        return SessionAnswer(redis, job)
    return None if job.stored is None else StoredAnswer(redis, job, job.stored)


async def turn_of(kept: KeptAnswer | None, job: Job, error: GatewayError | None) -> TurnEnd | ResponseEnd | None:
    """Return what an answer that ended leaves; None where it leaves nothing. A stored one has its request's items."""
    if kept is None:
        return None
    kept.stop()
    return await work_beside(len(job.body), lambda: kept.end(error))


def _drop_unsound_calls(message: dict[str, Any], *, are_all: bool) -> None:
    message.pop("function_call", None)
    calls = [] if are_all else [call for call in message.get("tool_calls", ()) if _is_sound(call)]
    if calls:
        message["tool_calls"] = calls
    else:
        message.pop("tool_calls", None)


def _is_sound(call: dict[str, Any]) -> bool:
    try:
        msgspec.json.decode(call["function"]["arguments"])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return True
