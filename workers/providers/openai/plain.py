"""Reads a run of chunks that differ in their text alone, as nearly all of a stream, by what stands around it. Pure."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from shared.errors import Malformed
from workers.providers.openai.shapes import Choice, Chunk, Message, read_chunk

MOST_TRIES: Final = 4
"""Number of chunks of a reply that are looked at in vain, as those of servers that count tokens in each of them."""
_END: Final = b"\n\n"
_DATA: Final = b"data:"
_TEXT: Final = re.compile(rb'"(content|reasoning_content|reasoning)": ?("(?:[^"\\]++|\\.)++")', re.DOTALL)
_PROBE: Final = "\0 any text"
_PROBE_JSON: Final = msgspec.json.encode(_PROBE)
_to_text: Final = msgspec.json.Decoder(str).decode


class PlainChunks:
    """The frame of the last chunk's text, where it can stand around any other text and means no more.

    Attributes:
        index: of the choice whose text it is.
        is_known: whether there is such a chunk.
        is_thought: whether the text is reasoning.
    """

    def __init__(self) -> None:
        self.index = 0
        self.is_known = self.is_thought = False
        self._before = self._between = self._behind = b""
        self._tries = MOST_TRIES

    def learn(self, data: bytes) -> None:
        """Look at the last of the chunks that have been read by the letter, which end where `data` does."""
        self.is_known = False
        if not self._tries or not data.endswith(_END):
            return
        start = data.rfind(_END, 0, -len(_END))
        line = data[start + len(_END) if start >= 0 else 0 :]
        text = _TEXT.search(line)
        if text is None or not line.startswith(_DATA) or line.count(b"\n") != len(_END) or b"\r" in line:
            return
        self._tries -= 1
        before, behind = line[: text.start(2)], line[text.end(2) :]
        try:
            chunk = read_chunk(before[len(_DATA) :] + _PROBE_JSON + behind)
        except Malformed:
            return
        index, name = chunk.choices[0].index if chunk.choices else 0, text[1].decode()
        if chunk == Chunk([Choice(index, msgspec.convert({name: _PROBE}, Message))], service_tier=chunk.service_tier):
            self.is_known, self.index, self.is_thought = True, index, name != "content"
            self._before, self._behind, self._between = before, behind, behind + before

    def first(self, data: bytes) -> int:
        """Return how much of `data` is to be read by the letter before it is looked at again: most often all of it.

        Of more than three events that come together the first two, to know how the others may be read.
        """
        second = data.find(_END, data.find(_END) + len(_END)) + len(_END) if self._tries else 0
        third = data.find(_END, second) + len(_END)
        return len(data) if second < len(_END) or third < len(_END) or third == len(data) else second

    def run(self, data: bytes) -> tuple[list[str], int]:
        """Return the texts of the run of such chunks that `data` begins with, and how long that is; 0: it is none."""
        start, stop = len(self._before), data.rfind(self._behind)
        end = stop + len(self._behind)
        if stop <= start or not data.startswith(self._before):
            return [], 0
        parts = data[start:stop].split(self._between)
        if data.count(b"\n", 0, end) != len(_END) * len(parts):  # beside texts they are white space to JSON alone
            return [], 0
        try:
            texts = [*map(_to_text, parts)]
        except (msgspec.DecodeError, UnicodeDecodeError):
            return [], 0
        self._tries = MOST_TRIES
        return texts, end
