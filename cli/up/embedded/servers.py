"""The servers that the gateway uses: those that are configured, and embedded ones for the rest."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import httpx

from cli.up.embedded.chat_model import PARALLEL, EmbeddedModel
from cli.up.embedded.embedding_model import EmbeddedEmbedder
from cli.up.embedded.postgres import EmbeddedPostgres
from cli.up.embedded.postgres_home import system_folders
from cli.up.embedded.server import ServerFailed
from cli.up.embedded.valkey import EmbeddedValkey

if TYPE_CHECKING:
    from pathlib import Path

    from cli.up.embedded.server import EmbeddedServer
    from cli.up.preconditions import DiskWatch
    from cli.up.terminal import Terminal
    from shared.settings import Settings

_OLLAMA_URL: Final = "http://127.0.0.1:11434"
_OLLAMA_TIMEOUT_S: Final = 1.0
LOOK_S: Final = 10.0
REWRITE_S: Final = 3600.0
"""For how long at the most the append-only file keeps the prompt of a job that has ended."""


class Servers:
    """The servers of one run.

    `environment` is what the gateway's processes need to find those that are not configured; `no_model`
    says why there is no local model, and is empty where there is one.

    Args:
        settings: what is configured.
        terminal: warned when a server dies and is started again.
    """

    def __init__(self, settings: Settings, terminal: Terminal) -> None:
        self.environment: dict[str, str] = {}
        self.no_model = ""
        self._settings = settings
        self._terminal = terminal
        self._model = EmbeddedModel(settings.data_dir, terminal=terminal)
        self._embedder = EmbeddedEmbedder(settings.data_dir, terminal=terminal)
        self._valkey = EmbeddedValkey(settings.data_dir, terminal=terminal)
        self._postgres = EmbeddedPostgres(settings.data_dir, terminal=terminal)

    @property
    def redis_url(self) -> str:
        """Return that of the Redis or Valkey in use, as redis-cli takes it."""
        return self._settings.redis_url or self._valkey.url()

    @property
    def database_url(self) -> str:
        """Return that of the PostgreSQL in use."""
        return self._settings.database_url or self.environment["DATABASE_URL"]

    @property
    def has_embedded_model(self) -> bool:
        """Return whether the local model is the embedded one."""
        return "CLAW_LOCAL_OPENAI_URL" in self.environment

    @property
    def embedded(self) -> str:
        """Return what is to be embedded, for people; empty where all is configured."""
        configured = {
            "PostgreSQL": self._settings.database_url,
            "Valkey": self._settings.redis_url,
            "the local model": self._settings.local_openai_url or self._settings.ollama_url,
        }
        names = [name for name, url in configured.items() if not url]
        return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)

    @property
    def system_folder(self) -> Path | None:
        """Return where root's embedded database is; None where it is in the data folder, or is configured."""
        data_dir = self._settings.data_dir.absolute()
        if os.geteuid() != 0 or self._settings.database_url is not None:
            return None
        return next((place for place, origin in system_folders().items() if origin == data_dir), None)

    async def start(self) -> None:
        """Start what is not configured, all at the same time, and wait until it answers.

        Raises:
            ServerFailed: PostgreSQL or Valkey cannot be started. (Without a model the gateway is still of use.)
        """
        try:
            async with asyncio.TaskGroup() as starts:
                starts.create_task(self._start_model())
                if self._settings.redis_url is None:
                    starts.create_task(self._start_valkey())
                if self._settings.database_url is None:
                    starts.create_task(self._start(self._postgres, "DATABASE_URL"))
        except ExceptionGroup as failures:
            # The first is enough: the others were cancelled for it.
            raise failures.exceptions[0] from None

    async def keep_house(self, watch: DiskWatch) -> None:
        """Watch the disk, and let Valkey forget the prompts of jobs that have ended, for good."""
        clock = asyncio.get_running_loop().time
        due = clock() + REWRITE_S
        while True:
            await asyncio.sleep(LOOK_S)
            watch.look()
            if self._settings.redis_url is None and clock() >= due:
                with suppress(OSError, TimeoutError):
                    await self._valkey.rewrite()
                due = clock() + REWRITE_S

    async def stop(self, hurry: asyncio.Event) -> None:
        """Stop what is ours: the models, Valkey, PostgreSQL, one after the other."""
        await self._model.stop(hurry)
        await self._embedder.stop(hurry)
        await self._valkey.stop(hurry)
        await self._postgres.stop(hurry)

    async def _start(self, server: EmbeddedServer, variable: str) -> None:
        self.environment[variable] = await server.start()

    async def _start_valkey(self) -> None:
        await self._valkey.start()
        self.environment["REDIS_URL"] = self._valkey.shortest_url

    async def _start_model(self) -> None:
        if self._settings.local_openai_url or self._settings.ollama_url:
            return
        if self._settings.ollama_detect and await _ollama_answers():
            self.environment["PLUGIN_OLLAMA_URL"] = _OLLAMA_URL
            return
        try:
            await self._start(self._model, "CLAW_LOCAL_OPENAI_URL")
        except ServerFailed as error:
            # No reason to fail: other tiers, or a server that comes later, may serve.
            self.no_model = str(error).splitlines()[0]
            await self._model.stop()
            return
        self.environment["CLAW_LOCAL_OPENAI_SLOTS"] = str(PARALLEL)
        await self._start_embedder()

    async def _start_embedder(self) -> None:
        if self._settings.local_embeddings_url:
            return
        try:
            await self._start(self._embedder, "CLAW_LOCAL_EMBEDDINGS_URL")
        except ServerFailed as error:
            self._terminal.notice(f"No local embedding model: {str(error).splitlines()[0]}.")
            await self._embedder.stop()


async def _ollama_answers() -> bool:
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=_OLLAMA_TIMEOUT_S) as client:
            return (await client.get(f"{_OLLAMA_URL}/api/version")).status_code == 200
    except httpx.HTTPError:
        return False
