"""Bodies of completions and embeddings that mean harm."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.upstreams.numbered import MODEL

MIB = 1024 * 1024
LONG = 300_000


class Made(Mapping[str, bytes]):
    """Bodies by their names, each made when it is asked for: together they are 300 MB, in each process of a run.

    Args:
        makers: of the bodies.
    """

    def __init__(self, makers: dict[str, Callable[[], bytes]]) -> None:
        self._makers = makers

    def __getitem__(self, name: str) -> bytes:
        return self._makers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


BODIES: dict[str, dict[str, Any]] = {
    "a legacy function": {"messages": [{"role": "function", "name": "f" * LONG, "content": ""}]},
    "a model": {"model": "gpt-" + "x" * LONG},
    "a local model": {"model": "m" * LONG},
    "a tool": {"tools": [{"type": "function", "function": {"name": "f" * LONG}}]},
    "a chosen tool": {"tool_choice": {"type": "function", "function": {"name": "f" * LONG}}},
    "a schema": {"response_format": {"type": "json_schema", "json_schema": {"name": "s" * LONG, "schema": {}}}},
    "an unknown parameter": {"p" * LONG: 1},
    "an unknown role": {"messages": [{"role": "r" * LONG, "content": ""}]},
    "an unknown part": {"messages": [{"role": "user", "content": [{"type": "t" * LONG}]}]},
    "a service tier": {"service_tier": "s" * LONG},
    "a user": {"user": "u" * LONG},
    "a reasoning effort": {"reasoning_effort": "e" * LONG},
}
"""Fields of a chat request, each with a text of 300 kB where a name is expected."""

_IMAGES = [{"type": "image_url", "image_url": {"url": f"http://slow-{number}.invalid/a.png"}} for number in range(16)]
_KNOWN = b'{"model": "%s", "messages": [{"role": "user", "content": "a"}], "unknown": ' % MODEL.encode()

RAW = Made(
    {
        "a model of 19 MiB": lambda: json.dumps({"model": "m" * 19 * MIB, "messages": []}).encode(),
        "a prompt of 19 MiB": lambda: json.dumps(
            {"model": MODEL, "messages": [{"role": "user", "content": "x" * 19 * MIB}], "n": 129}
        ).encode(),
        "bad UTF-8": lambda: _KNOWN + b'"\xff"}',
        "a number that is too large": lambda: _KNOWN + b"1e999}",
        "a number of 5,000 digits": lambda: _KNOWN + b"9" * 5000 + b"}",
        "half a body": lambda: _KNOWN,
        "a deep list": lambda: _KNOWN + b"[" * 100_000 + b"]" * 100_000 + b"}",
        "a deep object": lambda: _KNOWN + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
        "forged lines of the log": lambda: json.dumps(
            {"model": "x\n2026-01-01T00:00:00.000Z INFO forged\x1b[2J", "messages": [{"role": "user", "content": "a"}]}
        ).encode(),
        "images of slow names": lambda: json.dumps(
            {"model": MODEL, "messages": [{"role": "user", "content": _IMAGES}]}
        ).encode(),
    }
)
"""Whole bodies of chat requests."""


def _chat(messages: bytes = b'{"role": "user", "content": "a"}', more: bytes = b"") -> bytes:
    return b'{"model": "%s", "messages": [%s]%s}' % (MODEL.encode(), messages, more)


def _field(value: bytes) -> bytes:
    return _chat(more=b', "prediction": %s' % value)


def _part(text: bytes) -> bytes:
    return b'{"role": "user", "content": [%s]}' % text


_COMMAS = b",[" * MIB
_CALL = b'{"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": ""}}]}'
_TOOL = b'{"type": "function", "function": {"name": "f", "parameters": {}}}'
_TURN, _TEXT = b'{"role": "user", "content": "a"}', b'{"type": "text", "text": "a"}'
TOO_MANY_VALUES = Made(
    {
        "lists": lambda: _field(b'{"a": [' + b"[]," * 6_000_000 + b"[]]}"),
        "objects": lambda: _field(b'{"a": [' + b'{"a":{}},' * 2_000_000 + b"{}]}"),
        "numbers": lambda: _field(b'{"a": [' + b"1," * 9_000_000 + b"1]}"),
        "names": lambda: _field(b"{" + b",".join(b'"%d":1' % number for number in range(1_500_000)) + b"}"),
        "turns": lambda: _chat(b",".join([_TURN] * 500_000)),
        "parts": lambda: _chat(_part(b",".join([_TEXT] * 500_000))),
        "unknown": lambda: _chat(more=b', "unknown": [' + b"[]," * 6_000_000 + b"[]]"),
        "behind a text": lambda: _chat(
            b'{"role": "user", "content": "%s"}' % _COMMAS, b', "x": [' + b"[]," * 200_000 + b"1]"
        ),
        "texts": lambda: b'"%s"' % _COMMAS + b'""' * 9_000_000,
    }
)
"""Bodies that are no larger than they may be, and have millions of values."""
LARGE = Made(
    {
        "lists": lambda: _field(b'{"a": [' + b"[]," * 49_900 + b"[]]}"),
        "names": lambda: _field(b"{" + b",".join(b'"%d":1' % number for number in range(99_900)) + b"}"),
        "turns": lambda: _chat(b",".join([_TURN] * 33_000)),
        "parts": lambda: _chat(_part(b",".join([_TEXT] * 33_000))),
        "calls without a type": lambda: _chat(b",".join([_CALL] * 12_000)),
        "tools": lambda: _chat(more=b', "tools": [%s]' % b",".join([_TOOL] * 16_000)),
        "commas in a text": lambda: _chat(b'{"role": "user", "content": "%s"}' % (b"1,[{" * 4_000_000)),
        "escapes in a text": lambda: _chat(b'{"role": "user", "content": "%s"}' % (b'\\",' * 5_000_000)),
        "accents": lambda: _chat(b'{"role": "user", "content": "%s"}' % ("\u00e9\u4e2d" * 3_500_000).encode()),
        "an image": lambda: _chat(
            _part(b'{"type": "image_url", "image_url": {"url": "data:image/png;base64,%s"}}' % (b"QUJD" * 4_500_000))
        ),
    }
)
"""Bodies that are served: as many values or bytes as there may be."""
EMBEDDINGS: dict[str, dict[str, Any]] = {
    "2,048 inputs": {"model": "local", "input": ["a" * 100] * 2048},
    "2,049 inputs": {"model": "local", "input": ["a"] * 2049},
    "a long model": {"model": "e" * LONG, "input": "a"},
}
