"""Log lines: one each, whatever is in them."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING

import pytest

from shared.process import log

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Yield what the log writes; the root logger is as before afterwards."""
    output = io.StringIO()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr("sys.stderr", output)
    log.configure_logging("INFO")
    yield output
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize("character", ["\n", "\r", "\x1b", "\x9b", "\x7f", "\u2028", "\u202e", "\u2066", "\0", "\x85"])
def test_a_name_can_neither_forge_a_line_nor_steer_a_terminal(written: io.StringIO, character: str) -> None:
    """Of a message, its arguments, or an exception."""
    forged = f"model{character}2026-01-01T00:00:00.000Z CRITICAL api all is lost"
    try:
        raise ValueError(forged)
    except ValueError:
        logging.getLogger("a").exception("no model %s", forged)
    lines = written.getvalue().split("\n")
    assert character == "\n" or character not in written.getvalue()
    assert [line for line in lines if line.startswith("2026-01-01")] == []
    assert sum(not line.startswith("  ") for line in lines if line) == 1


def test_other_text_is_as_it_was(written: io.StringIO) -> None:
    """Also outside ASCII."""
    logging.getLogger("a").warning("größe 模型 \\x1b %s", "✓")
    assert written.getvalue().endswith(" WARNING a größe 模型 \\x1b ✓\n")
