"""Splits an upstream's byte stream into lines, and reads lines into events: for SSE and NDJSON alike. Pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

import msgspec

from shared.errors import GatewayError, Malformed
from shared.types import Event

T = TypeVar("T")

MAX_LINE_BYTES = 16 * 1024 * 1024


class LineSplitter:
    """Gathers bytes and hands out whole lines, wherever the network split them.

    A line ends with LF; a CR before it stays, since JSON takes it for white space.
    """

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that `data` completes, without their line ends.

        Raises:
            Malformed: a line is longer than MAX_LINE_BYTES.
        """
        lines = data.split(b"\n")
        rest = lines.pop()
        if lines and self._parts:
            lines[0] = self.rest() + lines[0]
        if rest:
            self._parts.append(rest)
            self._size += len(rest)
            if self._size > MAX_LINE_BYTES:
                raise Malformed("The model server sent a line that is too long.")
        return lines

    def rest(self) -> bytes:
        """Return what stands after the last line end; it is handed out once."""
        rest = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        return rest


def decode_line(decode: Callable[[bytes], T], text: bytes) -> T:
    """Return what `decode` makes of a line of JSON.

    Raises:
        Malformed: it cannot be read.
    """
    try:
        return decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Malformed("The model server's answer cannot be read.") from None


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
            self.take(self._lines.rest(), events)
            if not self.done:
                self.complete(events)
        except GatewayError as failure:
            self.failure = failure
        return events

    @abstractmethod
    def take(self, line: bytes, events: list[Event]) -> None:
        """Append the events of a line; set `done` at the end mark.

        Raises:
            GatewayError: the upstream reports a failure, or the line cannot be read.
        """

    @abstractmethod
    def complete(self, events: list[Event]) -> None:
        """Append the last events of a reply that ended without its end mark.

        Raises:
            StreamBroken: it is not complete without it.
        """
