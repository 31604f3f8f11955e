"""Watching a pull: what is said, and for how long a gateway or worker may be away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import pytest

from cli import pull_watch
from cli.pull_watch import follow_pull

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOST = "box:11434"
NAME = "tiny:1b"
AWAY: dict[str, Any] = {"hosts": [], "models": []}


def seen(
    status: str = "pulling", done: int = 0, *, detail: str = "pulling aaa", error: str | None = None
) -> dict[str, Any]:
    """Return a reply of the management API that has the model."""
    model = {
        "model_name": NAME, "status": status, "error": error, "detail": detail, "percent": done, "size_bytes": 1000,
        "completed_bytes": 10 * done, "total_bytes": 1000,
    }  # fmt: skip
    return {"hosts": [{"host": HOST, "reachable": True}], "models": [model]}


def replies(*given: dict[str, Any] | str) -> Callable[[], dict[str, Any]]:
    """Yield each in turn; a text is a gateway that cannot be reached. The last one stays."""

    def one_by_one() -> Iterator[dict[str, Any] | str]:
        yield from given
        while True:
            yield given[-1]

    turns = one_by_one()

    def fetch() -> dict[str, Any]:
        reply = next(turns)
        if isinstance(reply, str):
            raise click.ClickException(reply)
        return reply

    return fetch


def test_a_line_is_printed_for_each_tenth_and_each_step(capsys: pytest.CaptureFixture[str]) -> None:
    """Not for each look."""
    steps = [*(seen(done=percent) for percent in range(0, 101, 5)), seen(done=100, detail="verifying sha256 digest")]
    assert follow_pull(replies(*steps, seen("installed")), NAME, HOST, poll_s=0) == 1000
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{NAME}: pulling aaa, 0 % of 1.0 kB"
    assert (len(lines), lines[-1]) == (12, f"{NAME}: verifying sha256 digest, 100 % of 1.0 kB")


def test_who_is_away_for_a_moment_is_waited_for() -> None:
    """A gateway that restarts, a worker that another follows."""
    fetch = replies(seen(), "The gateway cannot be reached", AWAY, seen(done=50), seen("loaded"))
    assert follow_pull(fetch, NAME, HOST, poll_s=0) == 1000


@pytest.mark.parametrize("reply", ["The gateway cannot be reached", AWAY])
def test_who_stays_away_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, reply: dict[str, Any] | str) -> None:
    """It is said that the pull may go on."""
    monkeypatch.setattr(pull_watch, "AWAY_S", 0.01)
    with pytest.raises(click.ClickException, match="may still be installed"):
        follow_pull(replies(seen(), reply), NAME, HOST, poll_s=0.001)


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (seen("failed", error="no space left on device"), "no space left"),
        (seen("installed", error="pull model manifest: 412"), "412"),
        ({**seen(), "models": []}, "removed meanwhile"),
    ],
)
def test_a_pull_that_ends_otherwise_is_an_error(reply: dict[str, Any], says: str) -> None:
    """Also where an older version of the model stays installed."""
    with pytest.raises(click.ClickException, match=says):
        follow_pull(replies(seen(), reply), NAME, HOST, poll_s=0)
