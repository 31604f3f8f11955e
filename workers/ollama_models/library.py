"""The models on an Ollama server's disk: what is there, pulling and removing.

Source of the shapes: Ollama's docs/api.md ("List Local Models", "List Running Models", "Pull a Model", "Delete a
Model") and api/types.go (ProgressResponse, ListModelResponse, ProcessModelResponse). A pull that fails says so in a
line of a reply with status 200.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from shared.errors import GatewayError, StreamBroken
from shared.models.ollama_operations import InstalledModel
from workers.providers.http.error_body import from_error
from workers.providers.http.lines import LineReader
from workers.providers.http.upstream import StatusError, Upstream
from workers.providers.replies.json_reader import json_reader

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.types import Event

SILENCE_S: Final = 900.0
"""Time that a pull may say nothing: checking the digest of a large model takes minutes."""
MAX_ERROR_CHARS: Final = 500
_CONNECTIONS: Final = 8
_QUERY: Final = re.compile(r"(https?://[^\s\"'?]+)\?[^\s\"']*")


class _Model(Struct):
    name: str
    size: int = 0


class _Models(Struct):
    models: list[_Model] | None = None


class _Line(Struct):
    status: str | int = ""
    digest: str = ""
    total: int = 0
    completed: int = 0
    error: Any = None


_read_line = json_reader(_Line)


class OperationRejected(GatewayError):
    """Ollama says that it cannot be done: asking again is of no use. The text is its own, made fit to show."""

    status = 502


class PullProgress:
    """The progress of a pull, over all layers that it has come to. Its largest layer, the weights, comes first.

    Attributes:
        status: what Ollama says it is doing.
    """

    def __init__(self) -> None:
        self.status = ""
        self._layers: dict[str, tuple[int, int]] = {}

    @property
    def completed_bytes(self) -> int:
        """Return what is there."""
        return sum(completed for completed, _ in self._layers.values())

    @property
    def total_bytes(self) -> int:
        """Return what there is to be."""
        return sum(total for _, total in self._layers.values())

    def layer(self, digest: str, completed: int, total: int) -> None:
        """Record how many bytes of a layer are here."""
        # Each layer has lines of its own, so the sum is taken over the last of each.
        self._layers[digest] = (min(completed, total), total)


class PullReader(LineReader):
    """Reads the reply to a pull into its progress.

    Args:
        progress: what is written to.
        on_line: called for each line.
    """

    def __init__(self, progress: PullProgress, on_line: Callable[[], None]) -> None:
        super().__init__()
        self._progress = progress
        self._on_line = on_line

    def take(self, line: bytes, events: list[Event]) -> None:  # noqa: ARG002 -- a pull makes no events
        """Record the progress that a line reports."""
        if not line.strip():
            return
        self._on_line()
        report = _read_line(line)
        if report.error:
            raise OperationRejected(shown(from_error(report.error).message))
        if report.digest:
            self._progress.layer(report.digest, report.completed, report.total)
        self._progress.status = shown(str(report.status))
        self.done = report.status == "success"

    def complete(self, events: list[Event]) -> None:  # noqa: ARG002 -- nothing can be made of such a reply
        """Raise StreamBroken: `success` is the only end mark."""
        raise StreamBroken("Ollama broke off before the model was complete.")


class OllamaLibrary:
    """The models of an Ollama server.

    Args:
        base_url: the server's URL, as in `http://127.0.0.1:11434`.
    """

    def __init__(self, base_url: str) -> None:
        self._upstream = Upstream(base_url, connections=_CONNECTIONS)

    async def models(self) -> tuple[InstalledModel, ...]:
        """Return what is on the disk, and whether it is in memory.

        Raises:
            UpstreamError: the server cannot be asked.
        """
        found = await self._upstream.fetch("GET", "/api/tags", None, _Models)
        running = _Models()
        with suppress(GatewayError):  # older servers cannot say it
            running = await self._upstream.fetch("GET", "/api/ps", None, _Models)
        loaded = {model.name for model in running.models or ()}
        return tuple(InstalledModel(model.name, model.size, model.name in loaded) for model in found.models or ())

    async def pull(self, model: str, progress: PullProgress) -> None:
        """Install a model. What an earlier pull had already loaded is used; one that is there is brought up to date.

        Raises:
            OperationRejected: Ollama says that it cannot be had.
            UpstreamError: the connection broke or fell silent; another pull goes on from there.
        """
        loop = asyncio.get_running_loop()
        body = msgspec.json.encode({"model": model, "stream": True})
        try:
            # By silence, not by a total: a large model on a slow line takes hours.
            async with asyncio.timeout(SILENCE_S) as silence:
                reader = PullReader(progress, lambda: silence.reschedule(loop.time() + SILENCE_S))
                async with self._upstream.request("POST", "/api/pull", body, reader) as reply:
                    async for _ in reply.batches(reader):
                        pass
        except StatusError as rejection:
            raise _rejected(rejection) from None
        except TimeoutError:
            raise StreamBroken(f"Ollama has sent nothing for {SILENCE_S:g} seconds.") from None

    async def remove(self, model: str) -> bool:
        """Remove a model; return whether there was one.

        Raises:
            OperationRejected: Ollama says that it cannot be done.
            UpstreamError: the server did not answer.
        """
        body = msgspec.json.encode({"model": model})
        try:
            async with self._upstream.request("DELETE", "/api/delete", body) as reply:
                await reply.whole()
        except StatusError as rejection:
            if rejection.status == 404:
                return False
            raise _rejected(rejection) from None
        return True

    async def close(self) -> None:
        await self._upstream.close()


def shown(text: str) -> str:
    """Return a text of Ollama's on one line, without the queries of addresses: those of downloads are signed."""
    line = "".join(character for character in " ".join(text.split()) if character.isprintable())
    return _QUERY.sub(r"\1", line)[:MAX_ERROR_CHARS]


def _rejected(rejection: StatusError) -> OperationRejected:
    return OperationRejected(shown(rejection.report.message) or f"Ollama answered with status {rejection.status}.")
