"""The history of a session in a job: earlier turns; the oldest are left out where a model's context is short."""

from __future__ import annotations

from itertools import takewhile
from typing import Any, Final

import msgspec

INSTRUCTIONS: Final = frozenset({"system", "developer"})

ROOM_OF_CONTEXT: Final = 0.75
"""Of a context that is filled up with history: tokens are estimated, and some languages have more than that."""
ANSWER_TOKENS: Final = 1_024
"""Room for the answer where the request does not say, of long contexts; of short ones a quarter."""
_NONE: Final = msgspec.Raw(b"[]")


class HistoryTurn(msgspec.Struct, frozen=True):
    """A user's message and all up to the next one, as a JSON list, and about how many tokens that is."""

    tokens: int
    messages: msgspec.Raw


class History(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Earlier turns that are put before the messages of a request. Lists are JSON.

    Args:
        instructions: those that the session began with, where the client sends none.
        turns: the earlier ones, in their order; any number of the oldest may be left out.
        begun: the turn that the client's messages go on with; never left out.
        fixed_tokens: about how long all is that is never left out, the client's own messages among it.
        answer_tokens: how long the answer may be, 0 where the request does not say.
    """

    instructions: msgspec.Raw = _NONE
    turns: tuple[HistoryTurn, ...] = ()
    begun: msgspec.Raw = _NONE
    fixed_tokens: int = 0
    answer_tokens: int = 0

    @property
    def tokens(self) -> int:
        """Return about how many tokens the turns have."""
        return sum(turn.tokens for turn in self.turns)

    @property
    def size_bytes(self) -> int:
        """Return how long it is as JSON."""
        return len(self.instructions) + len(self.begun) + sum(len(turn.messages) for turn in self.turns)

    def within(self, context: int | None) -> History:
        """Return it with as many of the newest turns as fit into a context of so many tokens; None is not known."""
        if context is None:
            return self
        room = room_of(context, self.answer_tokens) - self.fixed_tokens
        kept = len(self.turns)
        for turn in reversed(self.turns):
            room -= turn.tokens
            if room < 0:
                break
            kept -= 1
        return self._without(kept)

    def put_before(self, messages: list[Any]) -> list[Any]:
        """Return a client's messages with these before them, after the instructions that the client begins with."""
        own = list(takewhile(_instructs, messages))
        decode = msgspec.json.decode
        earlier = [message for turn in self.turns for message in decode(turn.messages)]
        return [*decode(self.instructions), *own, *earlier, *decode(self.begun), *messages[len(own) :]]

    def mentions(self, word: bytes) -> bool:
        """Return whether it has these bytes anywhere."""
        return any(word in bytes(part) for part in (self.begun, *(turn.messages for turn in self.turns)))

    def shorter(self) -> History:
        """Return it without the older half of its turns: a model has refused it as too long."""
        return self._without((len(self.turns) + 1) // 2)

    def _without(self, oldest: int) -> History:
        return msgspec.structs.replace(self, turns=self.turns[oldest:]) if oldest else self


def room_of(context: int, answer_tokens: int | None) -> int:
    """Return for about how many tokens of a prompt a context has room.

    Args:
        context: of a model, in tokens.
        answer_tokens: how long the answer may be; 0 or None where the request does not say.
    """
    return int(context * ROOM_OF_CONTEXT) - min(answer_tokens or ANSWER_TOKENS, context // 4)


def _instructs(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") in INSTRUCTIONS
