"""An Ollama server with a disk: it lists, pulls and removes models, and chats by a script.

Its replies have the shapes of the `ollama` package's types (ListResponse, ProcessResponse, ProgressResponse), in the
order and with the texts of Ollama's server/images.go, server/download.go and server/routes.go.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, cast

from ollama import ListResponse, ProcessResponse, ProgressResponse
from ollama._types import DeleteRequest, PullRequest

from tests.upstreams.ollama import replies as ollama_replies
from tests.upstreams.scripted import Act, Answer, Received, ScriptedUpstream, Step, json_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

WEIGHTS = "sha256:" + "a" * 64
LICENSE = "sha256:" + "b" * 64
LICENSE_BYTES = 100


class OllamaServer(ScriptedUpstream):
    """A server on a free port; chats are scripted as with `ScriptedUpstream`.

    Attributes:
        library: the models that can be pulled, and the size of their weights in bytes.
        disk: the models that are there, and their sizes.
        loaded: the names of those that are in memory.
        is_held: whether pulls stop in the middle of the weights until `go_on` is set.
        go_on: set by the test.
        breaks: how many of the next pulls have their connection reset in the middle.
        errors: what is said instead of pulling a model, by name.
        pulled: the models that were asked for, in order.
        most_pulling: how many ran at once at most.
    """

    def __init__(self, library: dict[str, int] | None = None, disk: dict[str, int] | None = None) -> None:
        super().__init__()
        self.library = dict(library or {})
        self.disk = dict(disk or {})
        self.loaded: set[str] = set()
        self.is_held = False
        self.go_on = asyncio.Event()
        self.breaks = 0
        self.errors: dict[str, str] = {}
        self.pulled: list[str] = []
        self._answered = 0
        self.most_pulling = 0

    def answer_to(self, request: Received) -> Answer:
        """Return the answer of the server; for the connections."""
        routes: dict[tuple[str, str], Callable[[], Answer]] = {
            ("GET", "/api/version"): lambda: json_answer({"version": "0.32.15"}),
            ("GET", "/api/tags"): lambda: json_answer(self._tags()),
            ("GET", "/api/ps"): lambda: json_answer(self._running()),
            ("POST", "/api/show"): lambda: self._show(request.body),
            ("POST", "/api/pull"): lambda: self._pull(request.body),
            ("DELETE", "/api/delete"): lambda: self._delete(request.body),
        }
        route = routes.get((request.method, request.path))
        return route() if route else super().answer_to(request)

    def _show(self, body: dict[str, Any]) -> Answer:
        name = body["model"]
        return json_answer(ollama_replies.show(8192)) if name in self.disk else _not_found(name)

    def _tags(self) -> dict[str, Any]:
        models = [
            {"name": name, "model": name, "size": size, "digest": f"sha256:{name}",
             "modified_at": "2026-01-01T00:00:00.123456789Z", "details": {"format": "gguf", "family": "scripted"}}
            for name, size in self.disk.items()
        ]  # fmt: skip
        ListResponse.model_validate({"models": models})
        return {"models": models}

    def _running(self) -> dict[str, Any]:
        models = [
            {"name": name, "model": name, "size": self.disk[name], "size_vram": 0, "digest": f"sha256:{name}",
             "expires_at": "2026-01-01T00:05:00Z", "context_length": 8192}
            for name in sorted(self.loaded & set(self.disk))
        ]  # fmt: skip
        ProcessResponse.model_validate({"models": models})
        return {"models": models}

    def _delete(self, body: dict[str, Any]) -> Answer:
        self._check(DeleteRequest, body)
        name = body["model"]
        if self.disk.pop(name, None) is None:
            return _not_found(name)
        return Answer()

    def _pull(self, body: dict[str, Any]) -> Answer:
        self._check(PullRequest, body)
        self.pulled.append(body["model"])
        self.most_pulling = max(self.most_pulling, self.pulling)
        self.notify()
        # The steps are made as they are sent, since what has happened by then shows on the disk.
        steps = cast("Sequence[Step]", self._pulling(body["model"]))
        return Answer(steps, headers={"content-type": "application/x-ndjson"})

    @property
    def pulling(self) -> int:
        """Return how many pulls run now: those that were neither answered nor left by their client."""
        return len(self.pulled) - self._answered - self.aborted

    def _pulling(self, name: str) -> Iterator[Step]:
        yield from self._layers(name)
        self._end()

    def _end(self) -> None:
        self._answered += 1
        self.notify()

    def _layers(self, name: str) -> Iterator[Step]:
        yield _line("pulling manifest")
        if name in self.errors or name not in self.library:
            yield json.dumps({"error": self.errors.get(name, "pull model manifest: file does not exist")}).encode()
            return
        size = self.library[name]
        yield _line(f"pulling {WEIGHTS[7:19]}", digest=WEIGHTS, total=size)
        yield _line(f"pulling {WEIGHTS[7:19]}", digest=WEIGHTS, total=size, completed=size // 2)
        if self.breaks:
            self.breaks -= 1
            self._end()
            yield Act.ABORT
        if self.is_held:
            yield self.go_on
        yield _line(f"pulling {WEIGHTS[7:19]}", digest=WEIGHTS, total=size, completed=size)
        yield _line(f"pulling {LICENSE[7:19]}", digest=LICENSE, total=LICENSE_BYTES, completed=LICENSE_BYTES)
        for status in ("verifying sha256 digest", "writing manifest"):
            yield _line(status)
        self.disk[name] = size + LICENSE_BYTES
        yield _line("success")

    def _check(self, kind: type[PullRequest | DeleteRequest], body: dict[str, Any]) -> None:
        kind.model_validate(body)
        unknown = set(body) - set(kind.model_fields)
        if unknown or ":" not in body["model"]:
            self.violations.append(f"{kind.__name__}: {body}")


def _line(status: str, **counts: Any) -> bytes:
    """Return a line of a pull; counts that are zero are left out, as the server does."""
    return ProgressResponse(status=status, **counts).model_dump_json(exclude_unset=True).encode() + b"\n"


def _not_found(name: str) -> Answer:
    return json_answer({"error": f"model '{name}' not found"}, 404)
