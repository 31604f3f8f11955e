"""Reads a run of chunks that differ in their text alone, as nearly all of a stream, by what stands around it. Pure."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from shared.errors import Malformed
from workers.providers.openai.shapes import Choice, Chunk, Message, read_chunk

MOST_TRIES: Final = 4
"""How many chunks of a reply are looked at in vain, as those of servers that count tokens in each of them."""
_END: Final = b"\n\n"
_DATA: Final = b"data:"
_CONTENT: Final = re.compile(rb'"content": ?("(?:[^"\\]++|\\.)++")', re.DOTALL)
_PROBE: Final = "\0 any text"
_PROBE_JSON: Final = msgspec.json.encode(_PROBE)
_to_text: Final = msgspec.json.Decoder(str).decode


class PlainChunks:
    """What stands around the text of the last chunk, where it can stand around any other text and means no more.

    Attributes:
        index: of the choice whose text it is.
        is_known: whether there is such a chunk.
    """

    def __init__(self) -> None:
        self.index = 0
        self.is_known = False
        self._before = self._between = self._behind = b""
        self._tries = MOST_TRIES

    def learn(self, data: bytes) -> None:
        """Look at the last of the chunks that have been read by the letter, which end where `data` does."""
        self.is_known = False
        if not self._tries or not data.endswith(_END):
            return
        start = data.rfind(_END, 0, -len(_END))
        line = data[start + len(_END) if start >= 0 else 0 :]
        text = _CONTENT.search(line)
        if text is None or not line.startswith(_DATA) or line.count(b"\n") != len(_END) or b"\r" in line:
            return
        self._tries -= 1
        before, behind = line[: text.start(1)], line[text.end(1) :]
        try:
            chunk = read_chunk(before[len(_DATA) :] + _PROBE_JSON + behind)
        except Malformed:
            return
        index = chunk.choices[0].index if chunk.choices else 0
        if chunk == Chunk([Choice(index, Message(_PROBE))], service_tier=chunk.service_tier):
            self.is_known, self.index = True, index
            self._before, self._behind, self._between = before, behind, behind + before

    def texts(self, data: bytes) -> list[str] | None:
        """Return the texts of `data` if it is a run of such chunks and nothing else, else None."""
        if not (data.startswith(self._before) and data.endswith(self._behind)):
            return None
        parts = data[len(self._before) : -len(self._behind)].split(self._between)
        if data.count(b"\n") != len(_END) * len(parts):  # beside texts they are white space to JSON, and end lines here
            return None
        try:
            texts = [*map(_to_text, parts)]
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        self._tries = MOST_TRIES
        return texts
