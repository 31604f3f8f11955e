"""Shows how far a pull is until it ends: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

import click
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

if TYPE_CHECKING:
    from collections.abc import Callable

POLL_S: Final = 0.5
AWAY_S: Final = 60.0
"""Time that the gateway, or the model's worker, may be away before nobody waits any more."""
STEP_PERCENT: Final = 10
_UNKNOWN_MODEL: Final = "pull model manifest: file does not exist"


class _Meter(Protocol):
    def show(self, model: dict[str, Any]) -> None:
        """Show a pull as it is now."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was."""
        ...


def follow_pull(fetch: Callable[[], dict[str, Any]], name: str, host: str, *, poll_s: float = POLL_S) -> int:
    """Show a pull until the model is installed.

    Args:
        fetch: the reply to `GET /ai/models/local`.
        name: the model.
        host: where it is being installed.
        poll_s: how often it is asked for, in seconds.

    Returns:
        The model's size in bytes.

    Raises:
        ClickException: it failed, was stopped, or cannot be seen any more.
    """
    meter: _Meter = _Bar(name) if sys.stdout.isatty() else _Lines(name)
    patience = _Patience()
    try:
        while True:
            found = _look(fetch, name, host, patience)
            if found is not None:
                if found["error"]:
                    raise click.ClickException(f"{name} cannot be installed: {explained(found['error'])}")
                if found["status"] != "pulling":
                    return int(found["size_bytes"])
                meter.show(found)
            time.sleep(poll_s)
    finally:
        meter.close()


def explained(error: str) -> str:
    """Explain an error of Ollama where its text does not say what it means."""
    return f"{error} (Ollama's library has no such model)" if error.strip() == _UNKNOWN_MODEL else error


class _Patience:
    """Bears with a gateway or worker that is away, for a while."""

    def __init__(self) -> None:
        self._since: float | None = None

    def restore(self) -> None:
        """Record that the model's server answers again."""
        self._since = None

    def lose(self, why: str) -> None:
        """Record that it does not answer.

        Raises:
            ClickException: for too long.
        """
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if now - self._since > AWAY_S:
            raise click.ClickException(f"{why} The model may still be installed: nself claw models status")


def _look(fetch: Callable[[], dict[str, Any]], name: str, host: str, patience: _Patience) -> dict[str, Any] | None:
    """Return the model as it is now; None while nobody can say."""
    try:
        answer = fetch()
    except click.ClickException as error:
        patience.lose(error.message)
        return None
    if not any(one["host"] == host and one["reachable"] for one in answer["hosts"]):
        patience.lose(f"The worker of {host} is away, or Ollama does not answer it.")
        return None
    patience.restore()
    wanted = name.casefold()
    models: list[dict[str, Any]] = answer["models"]
    found = next((model for model in models if model["model_name"].casefold() == wanted), None)
    if found is None:
        # Settled operations stay for an hour, so what is neither there nor listed was removed.
        raise click.ClickException(f"{name} is not being installed any more: it was removed meanwhile.")
    return found


class _Bar:
    """A bar with bytes, rate and time left."""

    def __init__(self, name: str) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),  # Ollama's words may have brackets
            BarColumn(),
            TaskProgressColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        self._name = name
        self._task = self._progress.add_task(name, total=None)
        self._progress.start()

    def show(self, model: dict[str, Any]) -> None:
        """Move the bar."""
        total = model["total_bytes"] or None
        description = f"{self._name} {model['detail']}"
        self._progress.update(self._task, description=description, completed=model["completed_bytes"], total=total)

    def close(self) -> None:
        """Stop drawing."""
        self._progress.stop()


class _Lines:
    """A line for each thing that Ollama does, and for every tenth of the bytes."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._reported: tuple[str, int] | None = None

    def show(self, model: dict[str, Any]) -> None:
        """Print a line if there is news."""
        news = (model["detail"], model["percent"] // STEP_PERCENT)
        if news == self._reported:
            return
        self._reported = news
        total = model["total_bytes"]
        amount = f", {model['percent']} % of {decimal(total)}" if total else ""
        click.echo(f"{self._name}: {model['detail']}{amount}")

    def close(self) -> None:
        """Do nothing: there is nothing to tidy up."""
