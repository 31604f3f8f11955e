"""Reading the reply to a pull."""

from __future__ import annotations

import pytest

from shared.errors import Malformed, StreamBroken
from workers.ollama_models.library import OperationRejected, PullProgress, PullReader, shown

PULL = b"""{"status":"pulling manifest"}
{"status":"pulling aaa","digest":"sha256:aaa","total":1000}
{"status":"pulling aaa","digest":"sha256:aaa","total":1000,"completed":400}
{"status":"pulling aaa","digest":"sha256:aaa","total":1000,"completed":1000}
{"status":"pulling bbb","digest":"sha256:bbb","total":50,"completed":50}
{"status":"verifying sha256 digest"}
{"status":"success"}
"""


def reading() -> tuple[PullReader, PullProgress, list[int]]:
    """Return a reader, its progress, and what it counted after each line."""
    progress = PullProgress()
    counted: list[int] = []
    return PullReader(progress, lambda: counted.append(progress.completed_bytes)), progress, counted


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_the_layers_add_up_however_the_reply_is_split(size: int) -> None:
    """The total grows with the layers, as they come; `success` ends it."""
    reader, progress, counted = reading()
    for start in range(0, len(PULL), size):
        assert reader.feed(PULL[start : start + size]) == []
    assert (reader.done, reader.failure, len(counted)) == (True, None, 7)
    assert (progress.completed_bytes, progress.total_bytes, progress.status) == (1050, 1050, "success")
    assert counted == sorted(counted)


@pytest.mark.parametrize(
    "line",
    [
        b'{"error":"pull model manifest: file does not exist"}\n',
        b'{"error":"no space left on device","status":500}\n',
    ],
)
def test_an_error_line_ends_the_pull_with_ollamas_words(line: bytes) -> None:
    """Though the reply has status 200."""
    reader, _, _ = reading()
    reader.feed(b'{"status":"pulling manifest"}\n' + line)
    assert isinstance(reader.failure, OperationRejected)
    assert reader.failure.message in line.decode()


def test_a_reply_that_ends_without_success_is_broken() -> None:
    """The model is not there then."""
    reader, _, _ = reading()
    reader.feed(PULL[:-20])
    reader.end()
    assert isinstance(reader.failure, Malformed | StreamBroken)


def test_what_cannot_be_read_is_malformed() -> None:
    """Whatever answers there is no Ollama."""
    reader, _, _ = reading()
    reader.feed(b"<html>\n")
    assert isinstance(reader.failure, Malformed)


def test_an_error_is_shown_on_one_line_and_without_signatures() -> None:
    """Downloads have signed addresses; texts may hold line ends and control characters."""
    text = 'Get "https://r2.example/blob?X-Amz-Signature=secret": dial\n\n\x1b[2Jtcp'
    assert shown(text) == 'Get "https://r2.example/blob": dial [2Jtcp'
    assert len(shown("x" * 10_000)) == 500
