"""The common part of the embedded model servers: OpenAI's API on a loopback port."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import httpx

from cli.up.embedded.server import EmbeddedServer
from cli.up.ports import LOOPBACK, remembered_port

if TYPE_CHECKING:
    from pathlib import Path

    from cli.up.terminal import Terminal

_ANSWER_TIMEOUT_S: Final = 2.0


class EmbeddedOpenAIServer(EmbeddedServer):
    """An OpenAI-compatible server on a loopback port that stays the same while it is free; its URL ends in /v1."""

    def __init__(self, data_dir: Path, *, terminal: Terminal | None = None) -> None:
        super().__init__(data_dir, terminal=terminal)
        self.port = 0

    async def choose_port(self) -> None:
        """Take the port of the last run, or another where that is taken, and remember it."""
        directory = self.data_dir / self.name
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.port = await remembered_port(directory / "port")

    async def is_ready(self) -> bool:
        """Return whether the model is loaded and served."""
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=_ANSWER_TIMEOUT_S) as client:
                return (await client.get(f"http://{LOOPBACK}:{self.port}/health")).status_code == 200
        except httpx.HTTPError:
            return False

    def url(self) -> str:
        """Return the base URL of its OpenAI-compatible API."""
        return f"http://{LOOPBACK}:{self.port}/v1"
