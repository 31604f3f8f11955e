"""What of a child's output reaches the terminal, and what its file keeps."""

import asyncio
import io
import logging
import stat
from pathlib import Path

import pytest
from rich.console import Console

from cli.up import child_log
from cli.up.child_log import ChildLog
from cli.up.terminal import Terminal
from shared.process.log import formatter_of

_INFO = "2026-11-23T03:12:00.123Z INFO workers started"
_WARNING = "2026-11-23T03:12:01.123Z WARNING workers slow"


async def _copy(log: ChildLog, *chunks: bytes) -> None:
    stream = asyncio.StreamReader()
    for chunk in chunks:
        stream.feed_data(chunk)
    stream.feed_eof()
    await log.copy_from(stream)


def _terminal(*, verbose: bool = False) -> tuple[Terminal, io.StringIO]:
    shown = io.StringIO()
    return Terminal(verbose=verbose, console=Console(file=shown, width=200)), shown


async def test_only_warnings_reach_the_terminal_and_everything_the_file(tmp_path: Path) -> None:
    """A line without a head belongs to the one before it."""
    terminal, shown = _terminal()
    log = ChildLog(tmp_path, "web", terminal)

    await _copy(log, f"{_INFO}\nmore of it\n{_WARNING}\n  File x\n{_INFO}\n".encode())

    assert shown.getvalue().splitlines() == [f"web           | {_WARNING}", "web           |   File x"]
    assert log.path.read_text() == f"{_INFO}\nmore of it\n{_WARNING}\n  File x\n{_INFO}\n"
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["slow", "größe 模型\x7f"])
async def test_lines_that_are_json_have_levels_too(tmp_path: Path, text: str) -> None:
    """As `CLAW_LOG_FORMAT=json` writes them, whatever is in them."""
    terminal, shown = _terminal()
    formatter = formatter_of("json")
    lines = [
        formatter.format(logging.LogRecord("workers", level, "", 0, text, None, None))
        for level in (logging.INFO, logging.WARNING, logging.INFO)
    ]

    await _copy(ChildLog(tmp_path, "web", terminal), "".join(f"{line}\n" for line in lines).encode())

    (only,) = shown.getvalue().splitlines()
    assert '"WARNING"' in only


async def test_a_traceback_without_a_log_line_is_shown(tmp_path: Path) -> None:
    """A process that cannot even start says why."""
    terminal, shown = _terminal()

    await _copy(ChildLog(tmp_path, "web", terminal), b"Traceback (most recent call last):\n  File\nValueError: x")

    assert "ValueError: x" in shown.getvalue()


async def test_verbose_shows_every_line(tmp_path: Path) -> None:
    """Also those of servers whose lines have another format."""
    terminal, shown = _terminal(verbose=True)

    await _copy(ChildLog(tmp_path, "valkey", terminal, warns=False), b"anything\n")

    assert "anything" in shown.getvalue()


async def test_markup_in_a_line_is_text(tmp_path: Path) -> None:
    """Rich must not read brackets of a log line as its own."""
    terminal, shown = _terminal(verbose=True)

    await _copy(ChildLog(tmp_path, "web", terminal), b"[bold]no markup[/nonsense]\n")

    assert "[bold]no markup[/nonsense]" in shown.getvalue()


async def test_a_line_of_any_length_is_kept(tmp_path: Path) -> None:
    """The stream reader's own limit of 64 KiB a line must not end the copying."""
    log = ChildLog(tmp_path, "web", None)

    await _copy(log, b"x" * 300_000, b"\nafter\n")

    assert log.path.read_bytes().count(b"x") == 300_000
    assert log.tail[-1] == "after"


async def test_the_file_is_rotated_and_one_older_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs do not fill the disk."""
    monkeypatch.setattr(child_log, "MAX_BYTES", 100)
    log = ChildLog(tmp_path, "web", None)

    for number in range(9):
        await _copy(log, f"{number}{'x' * 60}\n".encode())

    assert log.path.stat().st_size == 62
    assert (tmp_path / "web.log.1").stat().st_size == 124
    assert not (tmp_path / "web.log.2").exists()


async def test_a_full_disk_does_not_stop_the_copying(tmp_path: Path) -> None:
    """The child would block on its pipe otherwise."""
    log = ChildLog(tmp_path / "missing", "web", None)

    await _copy(log, b"one\n", b"two\n")

    assert list(log.tail) == ["one", "two"]
