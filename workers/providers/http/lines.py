"""Splits an upstream's byte stream into lines, and reads lines into events: for SSE and NDJSON alike. Pure.

Source of the rules of SSE: the HTML standard, section 9.2.6 (Interpreting an event stream).
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import ClassVar, Final

from shared.errors import GatewayError, Malformed, StreamBroken
from shared.types import Event
from workers.providers.http.values import COUNTED_BYTES, ValueCount
from workers.providers.replies.json_reader import values_in

MAX_LINE_BYTES = 16 * 1024 * 1024
MAX_TEXT_BYTES: Final = 64 * 1024
"""Bytes that may come before the first event and are none, as a page of HTML."""
BOM: Final = b"\xef\xbb\xbf"
WORDS: Final = re.compile(rb"[\w .:;,!/+-]*")
"""Data that is neither JSON nor a piece of it: `data: ping`, `data: OK`."""
_UNREADABLE: Final = "The model server's answer cannot be read."
_DATA_AGAIN: Final = re.compile(rb"(?:data:[ \t]*+){1,8}+(?!data:)")


class LineSplitter:
    """Gathers bytes and hands out whole lines, wherever the network split them.

    A line ends with CR, LF or both, as the HTML standard has it; between the values of JSON all of them are white
    space, and inside of them there is none.

    Attributes:
        long_values: how many JSON values the last line has that was longer than COUNTED_BYTES.
    """

    def __init__(self) -> None:
        self._after_cr = False
        self._parts: list[bytes] = []
        self._size = 0
        self._values: ValueCount | None = None
        self.long_values = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that `data` completes, without their line ends.

        Raises:
            Malformed: a line is longer than MAX_LINE_BYTES, or has too many values.
        """
        if self._after_cr or b"\r" in data:
            data = self._with_lf(data)
        lines = data.split(b"\n")
        rest = lines.pop()
        if lines and self._parts:
            lines[0] = self.rest() + lines[0]
        if rest:
            self._parts.append(rest)
            self._size += len(rest)
            if self._size > COUNTED_BYTES:
                self._count_values()
            if self._size > MAX_LINE_BYTES:
                raise Malformed("The model server sent a line that is too long.")
        return lines

    def _count_values(self) -> None:
        """Count those of the line's last part, and of all before it the first time."""
        if self._values is None:
            self._values = ValueCount()
            for part in self._parts[:-1]:
                self._values.add(part)
        self._values.add(self._parts[-1])

    def _with_lf(self, data: bytes) -> bytes:
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        self._after_cr = self._after_cr or data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def rest(self) -> bytes:
        """Return what stands after the last line end; it is handed out once."""
        rest = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        if self._values is not None:
            self.long_values, self._values = self._values.count, None
        return rest


class LineReader(ABC):
    """Reads one reply, line by line, into events.

    Attributes:
        done: the upstream's end mark came; what follows is not read.
        failure: what went wrong; the events handed out before it still count.
        has_content: some output came already.
    """

    def __init__(self) -> None:
        self.done = False
        self.failure: GatewayError | None = None
        self.has_content = False
        self._lines = LineSplitter()

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that `data` completes."""
        events: list[Event] = []
        try:
            for line in self._lines.feed(data):
                self.take(line, events)
                # What follows the end mark is no part of the answer.
                if self.done:
                    break
        except GatewayError as failure:
            self.failure = failure
        return events

    def end(self) -> list[Event]:
        """Return the last events of a reply whose connection ended cleanly; `failure` is set if it is not complete."""
        events: list[Event] = []
        try:
            # The last line may lack its line end.
            if rest := self._lines.rest():
                self.take(rest, events)
            if not self.done:
                self.close(events)
        except GatewayError as failure:
            self.failure = failure
        return events

    @abstractmethod
    def take(self, line: bytes, events: list[Event]) -> None:
        """Append the events of a line; set `done` at the end mark.

        Raises:
            GatewayError: the upstream reports a failure, or the line cannot be read.
        """

    def close(self, events: list[Event]) -> None:
        """Append the last events of a reply whose body ended before its end mark."""
        self.complete(events)

    @abstractmethod
    def complete(self, events: list[Event]) -> None:
        """Append the last events of a reply that ended without its end mark.

        Raises:
            StreamBroken: it is not complete without it.
        """


class EventReader(LineReader):
    """Reads one reply, a stream of server-sent events with JSON in them, as the HTML standard reads it.

    Beyond the standard, an event is taken as soon as its data is a whole: some servers leave out the empty line. A
    reply without any data whose text begins as JSON does is one body: some servers ignore `stream`, or report an error.
    A body of several values, or a list of them, are events all the same. What the reply is labelled does not matter.

    Attributes:
        end_mark: data that is no JSON and ends the reply; proxies of all APIs send OpenAI's.
    """

    end_mark: ClassVar = b"[DONE]"

    def __init__(self) -> None:
        super().__init__()
        self._name = ""
        self._data: list[bytes] = []
        self._bare: list[bytes] = []
        self._size = 0
        self._values = ValueCount()
        self._has_data = self._has_text = False

    def take(self, line: bytes, events: list[Event]) -> None:
        """Append the events of a line."""
        if line[:5] == b"data:":
            if self._bare or self._data:
                self._take_data(line[5:], events)
                return
            self._has_data = True
            try:
                self.take_event(self._name, line[5:], events)
            except Malformed:
                self._take_other(line[5:], events)
        elif line:
            self._take_field(line, events)
        elif self._data or self._name:
            self._end_event(events)

    def close(self, events: list[Event]) -> None:
        """Append the last events: those of a reply that is one body, or what is left to say of a stream.

        Raises:
            Malformed: the reply is neither.
        """
        self._end_bare(events)
        if self._has_text and not self._has_data:
            raise Malformed(_UNREADABLE)
        if not self.done:
            try:
                self.complete(events)
            except StreamBroken:
                if self._data:
                    raise Malformed(_UNREADABLE) from None
                raise

    @abstractmethod
    def take_event(self, name: str, data: bytes, events: list[Event]) -> None:
        """Append the events of a server-sent event; set `done` at the end mark.

        Raises:
            Malformed: its data is no JSON; nothing has been appended.
            GatewayError: the upstream reports a failure.
        """

    @abstractmethod
    def take_whole(self, body: bytes, events: list[Event]) -> None:
        """Append the events of a reply that is one JSON body.

        Raises:
            Malformed: it is no JSON.
            GatewayError: the upstream reports a failure.
        """

    def take_field(self, name: bytes, value: bytes) -> None:
        """Take a field that the standard does not know, and ignores."""

    def _take_data(self, value: bytes, events: list[Event]) -> None:
        """Take data that more data or another body comes before."""
        if self._data:
            self._hold(self._data, value)
        else:
            self._end_bare(events)
            self.take(b"data:" + value, events)

    def _take_other(self, value: bytes, events: list[Event]) -> None:
        """Take data that is no JSON: nothing, the end mark, or what may be JSON with the lines to come."""
        text = value.strip()
        again = _DATA_AGAIN.match(text)
        is_short = len(text) <= COUNTED_BYTES  # words are no longer
        if text and is_short and text.upper() == self.end_mark:
            self.complete(events)
        elif again is not None:  # some proxies put the field's name before events that have it already
            self.take(b"data:" + text[again.end() :], events)
        elif not (is_short and WORDS.fullmatch(text)):
            self._hold(self._data, value)

    def _end_event(self, events: list[Event]) -> None:
        if self._data:
            data, self._data, self._size = b"\n".join(self._data), [], 0
            self._values = ValueCount()
            try:
                self.take_event(self._name, data, events)
            except Malformed:  # several events, whose line ends got lost
                for value in values_in(data.replace(b"}data:", b"}")):
                    self.take_event(self._name, value, events)
        self._name = ""

    def _take_field(self, line: bytes, events: list[Event]) -> None:
        if line.startswith(BOM):
            self.take(line.lstrip(BOM), events)
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"event":
            self._name = value.decode(errors="replace")
        elif self._bare or line.lstrip()[:1] in {b"{", b"["}:
            self._hold(self._bare, line)
        elif name not in {b"", b"data", b"id", b"retry"}:
            self._has_text = self._has_text or bool(line.strip())
            if not self._has_data:
                self._size += len(line)
                if self._size > MAX_TEXT_BYTES:
                    raise Malformed(_UNREADABLE)
            self.take_field(name, value)

    def _end_bare(self, events: list[Event]) -> None:
        if not self._bare:
            return
        body, self._bare = b"\n".join(self._bare).rstrip().removesuffix(self.end_mark), []
        try:
            values = values_in(body)
            if len(values) == 1:
                self.take_whole(values[0], events)
                return
            for value in values:
                self.take_event("", value, events)
        except Malformed:
            if not self._has_data:
                raise

    def _hold(self, lines: list[bytes], line: bytes) -> None:
        self._size += len(line) + 1
        if self._size > MAX_LINE_BYTES:
            raise Malformed("The model server sent an event that is too long.")
        if len(line) > COUNTED_BYTES:
            self._values.add_counted(self._lines.long_values)
        else:
            self._values.add(line)
        lines.append(line)
