"""An upstream's JSON is counted as it arrives, and what has too many values is refused before it is decoded."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Malformed
from shared.process.json_values import MOST_VALUES
from workers.providers.http.lines import LineSplitter
from workers.providers.http.pieces import MOST_BYTES, ElementSplitter
from workers.providers.http.values import ValueCount, checked
from workers.providers.ollama.reply import ChatReader as OllamaReader
from workers.providers.openai.wire import ChatReader as OpenAIReader

MANY: dict[str, bytes] = {
    "lists": b"[" + b"[]," * MOST_VALUES + b"[]]",
    "numbers": b"[" + b"1," * (2 * MOST_VALUES) + b"1]",
    "texts": b"[" + b'"a",' * MOST_VALUES + b'"b"]',
    "objects": b"[" + b'{"a":{}},' * MOST_VALUES + b"{}]",
    "texts without commas": b'["' + b'""' * (4 * MOST_VALUES) + b'"]',
}
json_values = st.recursive(
    st.none() | st.integers() | st.text('ab,"\\[{\u00e9\n'),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('a,"\\['), inner, max_size=4),
)


def marks_of(value: Any) -> int:
    """Return how many commas, lists and objects the JSON of a value has outside of texts."""
    if not isinstance(value, list | dict):
        return 0
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max(0, len(value) - 1) + sum(map(marks_of, inner))


@given(json_values, st.lists(st.integers(1, 9), min_size=1))
def test_values_are_counted_wherever_the_network_cuts(value: Any, sizes: list[int]) -> None:
    """Also within a text, before and behind an escape."""
    text, count, at, turn = json.dumps(value, ensure_ascii=False).encode(), ValueCount(), 0, 0
    while at < len(text):
        size = sizes[turn % len(sizes)]
        count.add(text[at : at + size])
        at, turn = at + size, turn + 1
    assert marks_of(value) <= count.count <= marks_of(value) + text.count(b'"')


@pytest.mark.parametrize("size", [4096, 65_536])
@pytest.mark.parametrize("body", MANY.values(), ids=MANY)
@pytest.mark.parametrize(
    ("reader", "head", "tail"),
    [
        (OpenAIReader, b'data: {"choices":[],"x":', b"}\n\n"),
        (OpenAIReader, b'{"choices":[],"x":', b"}\n"),
        (OllamaReader, b'{"message":{},"x":', b"}\n"),
    ],
)
def test_a_line_of_too_many_values_is_refused_before_it_is_whole(
    reader: type[OpenAIReader | OllamaReader], head: bytes, tail: bytes, body: bytes, size: int
) -> None:
    """Whatever they are, and however it is framed."""
    reading, line = reader(), head + body
    for at in range(0, len(line), size):
        reading.feed(line[at : at + size])
    assert isinstance(reading.failure, Malformed), (reading.feed(tail), reading.end())


def test_an_event_of_many_lines_is_counted_as_one() -> None:
    """Long ones, which were counted as they came, and short ones."""
    for line in (b"data: 1,\n", b"data: " + b"1," * 40_000 + b"\n"):
        reader, text = OpenAIReader(), b"data: [\n" + line * (5 * MOST_VALUES // line.count(b","))
        for at in range(0, len(text), 65_536):
            reader.feed(text[at : at + 65_536])
            if reader.failure:
                break
        assert isinstance(reader.failure, Malformed)
        assert at < 0.6 * len(text)


def test_bytes_alone_are_no_values() -> None:
    """An image of many megabytes, prose, and many small events, are read."""
    for content in ("A" * 12_000_000, 'a, [b] {c} \\ " ' * 500_000):
        line = b'data: {"choices":[{"delta":{"content":' + json.dumps(content).encode() + b"}}]}\n\n"
        reader, events = OpenAIReader(), []
        for at in range(0, len(line), 65_536):
            events += reader.feed(line[at : at + 65_536])
        assert reader.failure is None
        assert [event.content for event in events] == [content]  # type: ignore[union-attr]  # it is there, else the test fails
    splitter = LineSplitter()
    for _ in range(20):
        assert splitter.feed(b"[1,2],\n" * 9000)


def test_a_vector_is_bounded_and_so_is_what_is_beside_it() -> None:
    """Those of other models have a hundredth of it."""
    for before in (b'{"data":[[', b'{"usage":['):
        splitter = ElementSplitter("data")
        splitter.feed(before)
        for _ in range(MOST_BYTES // 65_536 - 1):
            splitter.feed(b"1," * 32_768)
        with pytest.raises(Malformed):
            splitter.feed(b"1," * 65_536)
    splitter = ElementSplitter("data")
    splitter.feed(b'{"data":[')
    for _ in range(2 * MOST_BYTES // 65_536):
        assert splitter.feed(b"[%b]," % (b"1," * 32_000)) == [b"[%b]" % (b"1," * 32_000)]
    # As they really come: the end of one with the beginning of the next.
    splitter.feed(b"[1")
    for _ in range(2 * MOST_BYTES // 65_536):
        assert len(splitter.feed(b",1" * 32_000 + b"],[1")) == 1


@pytest.mark.parametrize("body", [body for name, body in MANY.items() if "without" not in name])
async def test_a_whole_reply_of_too_many_values_is_refused(body: bytes) -> None:
    """A list of models, say."""
    with pytest.raises(Malformed):
        await checked(body)
    assert await checked(b'{"a":"%b"}' % (b"[" * 1_000_000))
