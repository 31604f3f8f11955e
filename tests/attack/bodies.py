"""Bodies of completions and embeddings that mean harm."""

from __future__ import annotations

import json
from typing import Any

from tests.upstreams.numbered import MODEL

MIB = 1024 * 1024
LONG = 300_000
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

RAW: dict[str, bytes] = {
    "a model of 19 MiB": json.dumps({"model": "m" * 19 * MIB, "messages": []}).encode(),
    "a prompt of 19 MiB": json.dumps(
        {"model": MODEL, "messages": [{"role": "user", "content": "x" * 19 * MIB}], "n": 129}
    ).encode(),
    "bad UTF-8": _KNOWN + b'"\xff"}',
    "a number that is too large": _KNOWN + b"1e999}",
    "a number of 5,000 digits": _KNOWN + b"9" * 5000 + b"}",
    "half a body": _KNOWN,
    "a deep list": _KNOWN + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a deep object": _KNOWN + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
    "forged lines of the log": json.dumps(
        {"model": "x\n2026-01-01T00:00:00.000Z INFO forged\x1b[2J", "messages": [{"role": "user", "content": "a"}]}
    ).encode(),
    "images of slow names": json.dumps({"model": MODEL, "messages": [{"role": "user", "content": _IMAGES}]}).encode(),
}
"""Whole bodies of chat requests."""
EMBEDDINGS: dict[str, dict[str, Any]] = {
    "2,048 inputs": {"model": "local", "input": ["a" * 100] * 2048},
    "2,049 inputs": {"model": "local", "input": ["a"] * 2049},
    "a long model": {"model": "e" * LONG, "input": "a"},
}
