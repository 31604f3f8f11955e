"""The room for knowledge in a prompt. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOM_OF_CONTEXT: Final = 0.8
"""Added text is English: a small model has a quarter more tokens of it than estimated."""
ANSWER_TOKENS: Final = 1_024
"""Room for the answer where the request does not say, of long contexts; of short ones an eighth."""


def knowledge_room(
    contexts: Iterable[int], prompt_tokens: int, answer_tokens: int | None, earlier_tokens: int = 0
) -> int | None:
    """Return for about how many tokens of knowledge a prompt has room; None where no context is known.

    Args:
        contexts: of the models that may serve it, as far as they are known, in tokens. It fits into each that has room
            for the prompt.
        prompt_tokens: about how long all else is.
        answer_tokens: how long the answer may be, None where the request does not say.
        earlier_tokens: how long is what was said before, which has half of the room at the most.
    """
    known = sorted(contexts)
    if not known:
        return None
    context = next((each for each in known if each >= prompt_tokens), 0)
    answer = min(answer_tokens or ANSWER_TOKENS, context // 8)
    room = max(0, int((context - answer) * ROOM_OF_CONTEXT) - prompt_tokens)
    return room - min(earlier_tokens, room // 2)
