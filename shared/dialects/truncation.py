"""`truncation: auto`, which shortens a conversation that is too long for a model: by the oldest of it, whole. Pure.

First go the earlier turns, one after the other, then the earlier steps of the last one (what the model said and called,
with the results). Instructions, the last question and the last step stay, so calls keep their results, and what is left
begins as models want it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import msgspec

from shared.openai.prompt_size import estimate_text_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shared.dialects.responses.places import MessagePlace

MEDIA_TOKENS: Final = 1_000
"""Of an image, a sound or a file, about."""
_INSTRUCTIONS: Final = frozenset({"system", "developer"})


class Truncation:
    """The parts of a conversation that can be left out.

    Args:
        messages: of a chat.
        places: where each of them stood in the client's request.

    Attributes:
        blocks: the numbers of messages that go together, in the order in which they go.
    """

    def __init__(self, messages: Sequence[dict[str, Any]], places: Sequence[MessagePlace]) -> None:
        self._messages = messages
        self._is_media = [place.content.endswith(".output") for place in places]
        self.blocks = list(self._blocks())

    def needed(self, room_tokens: int, fixed_tokens: int = 0) -> int:
        """Return how many blocks have to go for the rest to fit; all where it does not fit at all.

        Args:
            room_tokens: how many tokens there may be, about.
            fixed_tokens: how many of them are no messages.
        """
        tokens = [_tokens(message) for message in self._messages]
        left = sum(tokens) + fixed_tokens - room_tokens
        for number, block in enumerate(self.blocks):
            if left <= 0:
                return number
            left -= sum(tokens[at] for at in block)
        return len(self.blocks)

    def kept(self, gone: int) -> list[int]:
        """Return the numbers of the messages that are left when so many blocks have gone."""
        out = {at for block in self.blocks[:gone] for at in block}
        return [at for at in range(len(self._messages)) if at not in out]

    def _blocks(self) -> Iterator[list[int]]:
        spoken = [at for at, message in enumerate(self._messages) if message["role"] not in _INSTRUCTIONS]
        starts = [
            place
            for place, at in enumerate(spoken)
            if self._asks(at) and (not place or not self._asks(spoken[place - 1]))
        ]
        last = starts[-1] if starts else 0
        bounds = [0, *(start for start in starts if start), len(spoken)]
        yield from (spoken[begin:end] for begin, end in pairwise(bounds[:-1]))
        steps = [place for place in range(last, len(spoken)) if self._messages[spoken[place]]["role"] == "assistant"]
        yield from (spoken[begin:end] for begin, end in pairwise(steps))

    def _asks(self, at: int) -> bool:
        """Return whether a message is a question, and no image that a tool returned."""
        return bool(self._messages[at]["role"] == "user" and not self._is_media[at])


def _tokens(message: dict[str, Any]) -> int:
    texts, media = [], 0
    content = message.get("content")
    for part in content if isinstance(content, list) else [{"text": content or ""}]:
        text = part.get("text", part.get("refusal"))
        media += text is None
        texts.append(text or "")
    texts += [message.get("reasoning_content") or ""]
    texts += [msgspec.json.encode(call["function"]).decode() for call in message.get("tool_calls") or ()]
    return sum(map(estimate_text_tokens, texts)) + media * MEDIA_TOKENS
