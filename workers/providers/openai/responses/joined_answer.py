"""Joins the texts of an answer of the Responses API, which may have several parts, into the one of a chat. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from workers.providers.replies.json_reader import read_any

if TYPE_CHECKING:
    from msgspec import Raw

BETWEEN: Final = "\n\n"
"""Stands between two items that say something, and between two parts of a summary."""
_Place = tuple[int, int]


class JoinedAnswer:
    """The texts of an answer so far, joined."""

    def __init__(self) -> None:
        self._chars = 0
        self._starts: dict[_Place, int] = {}
        self._place: _Place = (0, 0)
        self._thought: _Place | None = None

    def text(self, piece: str, item: int | None, part: int | None) -> str:
        """Return a piece of text as the chat's text goes on.

        Args:
            piece: what is new.
            item: the number of the item that it is of; None is the last one.
            part: the number of the part in it; None is the last one.
        """
        if not piece:
            return ""
        place = self._at(item, part)
        between = BETWEEN if self._chars and place[0] != self._place[0] else ""
        self._place = place
        self._starts.setdefault(place, self._chars + len(between))
        self._chars += len(between) + len(piece)
        return between + piece

    def thought(self, piece: str, item: int | None, part: int | None) -> str:
        """Return a piece of thoughts as the chat's reasoning goes on."""
        if not piece:
            return ""
        last = self._thought or (0, 0)
        place = (last[0] if item is None else item, last[1] if part is None else part)
        between = BETWEEN if self._thought is not None and place != self._thought else ""
        self._thought = place
        return between + piece

    def annotation(self, given: dict[str, Any], item: int | None, part: int | None) -> dict[str, Any]:
        """Return an annotation as chat has it: its place counted in the whole text, and inside a field of its kind."""
        kind = given.get("type")
        start = self._starts.get(self._at(item, part), 0)
        inner = {
            name: value + start if name in {"start_index", "end_index"} and isinstance(value, int) else value
            for name, value in given.items()
            if name != "type"
        }
        return {"type": kind, kind if isinstance(kind, str) else "annotation": inner}

    def _at(self, item: int | None, part: int | None) -> _Place:
        return (self._place[0] if item is None else item, self._place[1] if part is None else part)


def to_chat_logprobs(given: Raw) -> Raw | None:
    """Return a text's log probabilities as chat has them; None where there are none, or they are of another form."""
    found = read_any(bytes(given))
    if not isinstance(found, list) or not found or not all(map(_is_token, found)):
        return None
    tokens = [{**_token(each), "top_logprobs": list(map(_token, _top(each)))} for each in found]
    return msgspec.Raw(msgspec.json.encode({"content": tokens, "refusal": None}))


def _is_token(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("token"), str)
        and isinstance(value.get("logprob"), int | float)
        and not isinstance(value["logprob"], bool)
    )


def _top(token: dict[str, Any]) -> list[dict[str, Any]]:
    top = token.get("top_logprobs")
    return [each for each in top if _is_token(each)] if isinstance(top, list) else []


def _token(given: dict[str, Any]) -> dict[str, Any]:
    as_bytes = given.get("bytes")
    return {
        "token": given["token"],
        "logprob": given["logprob"],
        "bytes": as_bytes if isinstance(as_bytes, list) else None,
    }
