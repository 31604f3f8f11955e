"""Oddities of upstreams: everything that one of them can do to one place of a reply, one at a time."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

Path = tuple[str | int, ...]

NEEDED: Final = {
    "openai": {"content", "reasoning_content", "reasoning", "refusal", "name", "arguments", "finish_reason"},
    "openai-responses": {"delta", "name", "arguments", "reason"},
    "ollama": {"content", "thinking", "name", "arguments", "done", "done_reason"},
    "gemini": {"text", "name", "args", "finishReason", "blockReason"},
    "anthropic": {"text", "thinking", "partial_json", "name", "input", "stop_reason", "explanation"},
}
"""The fields of each API that hold the text, the calls or the only word for the end of an answer."""
OTHERS: Final[tuple[Any, ...]] = (7, -1.5, "x", True, [], {}, [None], {"a": {}})
_GONE: Final = object()


@dataclass(frozen=True)
class Oddity:
    """One changed reply.

    Args:
        name: what was changed, and where.
        body: the reply.
        split: the size of the pieces that it comes in, in bytes.
        is_harmless: whether text, calls and end are as they were.
    """

    name: str
    body: bytes
    split: int | None = None
    is_harmless: bool = True


@dataclass
class _Event:
    """An event of a stream: what stands before its data, and the data, decoded if it is JSON."""

    head: bytes
    value: Any


class Reply:
    """A recorded reply, taken apart.

    Args:
        wire: whose API it speaks.
        body: of the reply.
    """

    def __init__(self, wire: str, body: bytes) -> None:
        self.wire = wire
        self._is_lines = wire == "ollama"
        self._events = [self._parsed(text) for text in self._texts(body)]

    def oddities(self) -> Iterator[Oddity]:
        """Yield every oddity, in the same order each time."""
        for number in range(len(self._events)):
            if not isinstance(self._events[number].value, bytes):
                yield from self._of_event(number)
        yield from self._of_stream()

    def _texts(self, body: bytes) -> list[bytes]:
        lines = body.replace(b"\r\n", b"\n")
        return [text for text in lines.split(b"\n" if self._is_lines else b"\n\n") if text.strip()]

    def _parsed(self, text: bytes) -> _Event:
        head, mark, data = (b"", b"", text) if self._is_lines else text.rpartition(b"data:")
        assert self._is_lines or mark
        try:
            return _Event(head, json.loads(data))
        except ValueError:
            return _Event(head, data.strip())

    def _rendered(self, number: int | None = None, value: Any = None, **style: Any) -> bytes:
        """Return the reply, with another value in the place of one event's."""
        values = [value if at == number else event.value for at, event in enumerate(self._events)]
        return b"".join(self._one(event.head, new, **style) for event, new in zip(self._events, values, strict=True))

    def _one(
        self, head: bytes, value: Any, *, ascii_only: bool = False, indent: int | None = None, space: bytes = b" "
    ) -> bytes:
        if isinstance(value, bytes):
            return head + b"data:" + space + value + b"\n\n"
        data = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
        if self._is_lines:
            return data + b"\n"
        return head + b"".join(b"data:" + space + line + b"\n" for line in data.split(b"\n")) + b"\n"

    def _of_event(self, number: int) -> Iterator[Oddity]:
        whole = self._events[number].value
        needed = [path for path, _ in _places(whole) if path and path[-1] in NEEDED[self.wire]]
        for path, value in _places(whole):
            where = f"{number}:{'.'.join(map(str, path))}"
            inside = any(path[: len(one)] == one for one in needed)
            holds = inside or any(one[: len(path)] == path for one in needed)
            for kind, changed in _changes(whole, path, value, is_argument=inside):
                harmless = not inside if kind in {"extra", "extra first", "order"} else not holds
                yield Oddity(f"{kind} {where}", self._rendered(number, changed), is_harmless=harmless)

    def _of_stream(self) -> Iterator[Oddity]:
        plain = self._rendered()
        for split in (1, 2, 3, 7, 64):
            yield Oddity(f"split {split}", plain, split)
        for name, end in (("CRLF", b"\r\n"), ("CR", b"\r")):
            for pieces in (None, 1):
                yield Oddity(f"line ends {name}", plain.replace(b"\n", end), pieces)
        yield Oddity("line ends mixed", plain.replace(b"\n", b"\r\n", 1).replace(b"\n\n", b"\n\r"))
        yield Oddity("no line end at the end", plain.rstrip())
        yield Oddity("byte order mark", b"\xef\xbb\xbf" + plain)
        if self.wire == "openai":
            yield from self._of_repetition()
        yield Oddity("escaped characters", self._rendered(ascii_only=True))
        if self.wire != "gemini":  # whose last event is no end mark
            last = self._events[-1]
            yield Oddity("the last event twice", plain + self._one(last.head, last.value))
        for number, event in enumerate(self._events):
            if isinstance(event.value, dict):
                yield from self._encodings(number, event.value)
        yield from self._of_frames()
        if not self._is_lines:
            yield from self._of_events(plain)

    def _of_repetition(self) -> Iterator[Oddity]:
        """Yield all that was said once more, as a message in the last event, as MiniMax does."""
        numbers = [at for at, event in enumerate(self._events) if isinstance(event.value, dict)]
        ends = [
            at for at in numbers if any(choice.get("finish_reason") for choice in self._events[at].value["choices"])
        ]
        said: dict[int, dict[str, Any]] = {}
        for at in numbers:
            for choice in self._events[at].value["choices"]:
                message = said.setdefault(choice.get("index", 0), {"role": "assistant", "content": ""})
                message["content"] += (choice.get("delta") or {}).get("content") or ""
                message.setdefault("tool_calls", []).extend((choice.get("delta") or {}).get("tool_calls") or ())
        if any(message["content"] or message["tool_calls"] for message in said.values()):
            choices = [{"index": index, "message": message} for index, message in said.items()]
            again = self._one(b"", {"object": "chat.completion", "choices": choices})
            events = [self._one(event.head, event.value) for event in self._events]
            for name, place in (("before the end", ends[0]), ("after the end", ends[-1] + 1)):
                yield Oddity(f"told again {name}", b"".join([*events[:place], again, *events[place:]]))

    def _of_frames(self) -> Iterator[Oddity]:
        """Yield the same events in the frames of the other APIs: a list, lines, server-sent events."""
        values = [json.dumps(event.value).encode() for event in self._events if not isinstance(event.value, bytes)]
        yield Oddity("as a list", b"[" + b",".join(values) + b"]")
        yield Oddity("as a list on lines", b"[\n" + b"\n,\r\n".join(values) + b"\n]\n")
        yield Oddity("as lines", b"\n".join(values) + b"\n")
        yield Oddity("as lines with spaces", b"\n\n".join(b" " + value + b" " for value in values))
        yield Oddity("in a row", b"".join(values))
        if not self._is_lines:
            for between in (b"", b" ", b"data:", b"data: "):
                yield Oddity(f"in a row behind {between!r}", b"data: " + between.join(values) + b"\n\n")
        framed = b"".join(b"data: " + value + b"\n\n" for value in values)
        yield Oddity("as events", framed)
        for outer in ("data", "response", "result"):
            inside = [json.dumps({"code": 0, outer: event.value, "message": "success"}).encode()
                      for event in self._events if not isinstance(event.value, bytes)]  # fmt: skip
            yield Oddity(f"inside of {outer}", b"".join(b"data: " + value + b"\n\n" for value in inside))
        yield Oddity("as events among others", b": x\n\nevent: message\nid: 1\n" + framed + b"retry: 5\n\n")
        yield Oddity("with OpenAI's end mark", framed + b"data: [DONE]\n\n")
        yield Oddity("with OpenAI's end mark, twice", framed + b"data:[DONE]\n\ndata: [DONE]\n\n")
        for word in (b"ping", b"OK", b"keep-alive: 5", b"processing..."):
            noise = b"data: " + word + b"\n\n"
            yield Oddity(f"a word as data, {word!r}", noise + framed.replace(b"\n\n", b"\n\n" + noise))

    def _encodings(self, number: int, value: dict[str, Any]) -> Iterator[Oddity]:
        marked = self._rendered(number, {"x_odd": "@", **value})
        for name, odd in (("bytes", b'"\xff\xc3"'), ("half", b'"\\ud83d"'), ("NaN", b"NaN"), ("infinity", b"-Infinity"),
                          ("large", b"1e999"), ("long", b"9" * 5000), ("control", b'"\x01"')):  # fmt: skip
            yield Oddity(f"encoding {name} {number}", marked.replace(b'"@"', odd, 1))

    def _of_events(self, plain: bytes) -> Iterator[Oddity]:
        yield Oddity("no space after the colon", self._rendered(space=b""))
        yield Oddity("several data lines", self._rendered(indent=1))
        for noise in (b": comment\n", b":\n", b"id: 7\n", b"retry: 5\n", b"data\n", b"data:\n", b"unknown: x\n", b"x\n",
                      b"data: {}\n", b"data: null\n", b'data: "ping"\n', b'data: {"type":"ping"}\n'):  # fmt: skip
            end = b"\n\n" + noise + b"\n"
            yield Oddity(f"between events {noise!r}", noise + b"\n" + plain.replace(b"\n\n", end))


def _places(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every place in a value, itself first, with what stands there."""
    yield path, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _places(inner, (*path, key))


def _changes(whole: Any, path: Path, value: Any, *, is_argument: bool) -> Iterator[tuple[str, Any]]:
    """Yield the value of an event with one place changed, by the kind of the change."""
    if isinstance(value, dict) and not is_argument:
        yield "extra", _with(whole, path, {**value, "x_odd": {"deep": [1, None]}})
        yield "extra first", _with(whole, path, {"x_odd": "é", **value})
        yield "order", _with(whole, path, dict(reversed(value.items())))
    for other in OTHERS:
        if type(other) is not type(value):
            yield f"type {other!r}", _with(whole, path, other)
    if value is not None:
        yield "null", _with(whole, path, None)
    if path:
        yield "absence", _with(whole, path, _GONE)
    if path and isinstance(path[-1], str):
        for outer in range(len(path) - 1):
            above = _at(whole, path[:outer])
            if isinstance(above, dict) and path[-1] not in above:
                moved = {**_at(_with(whole, path, _GONE), path[:outer]), path[-1]: value}
                yield "place", _with(whole, path[:outer], moved)


def _at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value


def _with(value: Any, path: Path, new: Any) -> Any:
    """Return a copy of a value with something else at a place, or nothing."""
    if not path:
        return new
    key, *rest = path
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    if new is _GONE and not rest:
        del copy[key]
    else:
        copy[key] = _with(copy[key], tuple(rest), new)
    return copy
