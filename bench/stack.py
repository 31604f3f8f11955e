"""A gateway of its own to measure: real servers, real processes, a mock upstream; all of it gone afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx

from cli.up.child import launch_command
from cli.up.embedded.postgres import EmbeddedPostgres
from cli.up.embedded.valkey import EmbeddedValkey
from cli.up.ports import LOOPBACK, free_port
from shared.postgres.database import Database
from shared.postgres.keys import KeyStore
from shared.redis import client as redis_client
from shared.redis.names import WORKERS
from shared.settings import MAX_RPM_LIMIT, PROJECT_ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

TOOLS: Final = Path(__file__).parent / "tools"
OPENAI_MODELS: Final = ("mock", "mock-n256-d5", "mock-n8-d5", "mock-n6-d5000", "mock-n60-d500")
OLLAMA_MODELS: Final = ("ollama", "ollama-n256-d5")
READY_S: Final = 60.0
STOP_S: Final = 10.0
_SLOTS: Final = "64"
_POLL_S: Final = 0.05


class StackFailed(Exception):
    """The stack does not come up; the text ends with what its processes said."""


class Stack:
    """One gateway. `running` makes it.

    Attributes:
        redis_url: of its Valkey.
        key: a gateway key without a limit that matters.
        apis: the base URLs of its api processes.
        openai_url: the mock upstream with OpenAI's wire format, up to `/v1`.
        ollama_url: the mock upstream with Ollama's.
        groups: the process numbers of each kind that is counted; PostgreSQL and the mocks are not.
        metrics: where each kind's metrics are, while `with_metrics`: they cost something, and need a port each.
        with_metrics: whether processes started from now on serve metrics.
    """

    def __init__(self, directory: Path, redis_url: str, database_url: str, valkey_pid: int) -> None:
        self.metrics: dict[str, list[str]] = {}
        self.with_metrics = False
        self.redis_url = redis_url
        self.key = ""
        self.apis: list[str] = []
        self.openai_url = ""
        self.ollama_url = ""
        self.groups: dict[str, list[int]] = {"api": [], "worker": [], "recorder": [], "valkey": [valkey_pid]}
        # Nothing else of this environment: settings in it would change what is measured.
        self.environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "CLAW_DATA_DIR": str(directory),
            "REDIS_URL": redis_url,
            "DATABASE_URL": database_url,
            "PLUGIN_INTERNAL_SECRET": "internal-secret-of-the-bench",
            # Lines of a log would be counted as work.
            "CLAW_LOG_LEVEL": "WARNING",
            "CLAW_LOCAL_OPENAI_SLOTS": _SLOTS,
            "CLAW_OLLAMA_SLOTS": _SLOTS,
        }
        self._directory = directory
        self._database_url = database_url
        self._processes: list[asyncio.subprocess.Process] = []

    async def start_upstreams(self) -> None:
        """Start the mock upstreams: one for each wire format, since a queue belongs to a host and port."""
        self.openai_url = f"{await self.upstream(OPENAI_MODELS)}/v1"
        self.ollama_url = await self.upstream(OLLAMA_MODELS)
        self.environment |= {"CLAW_LOCAL_OPENAI_URL": self.openai_url, "PLUGIN_OLLAMA_URL": self.ollama_url}

    async def start(self, *, apis: int = 0, workers: int = 0, recorders: int = 0) -> None:
        """Start processes and wait until the gateway serves with all of them."""
        for _ in range(apis):
            port = free_port()
            await self._module("api", "api", CLAW_PORT=str(port))
            self.apis.append(f"http://{LOOPBACK}:{port}")
        for _ in range(workers):
            await self._module("worker", "workers", "local")
        for _ in range(recorders):
            await self._module("recorder", "workers", "recorder")
        await self._until(self._serves)

    async def make_key(self) -> None:
        """Make the key that the load is sent with."""
        async with Database(self._database_url) as database:
            await database.migrate()
            _, self.key = await KeyStore(database).create("bench", rpm_limit=MAX_RPM_LIMIT)

    async def stop(self) -> None:
        """Stop every process, the last started first."""
        for process in reversed(self._processes):
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
        ends = [asyncio.create_task(process.wait()) for process in self._processes]
        if ends:
            await asyncio.wait(ends, timeout=STOP_S)
        # What hangs is killed, so that the next measurement does not share the machine with it.
        for process in self._processes:
            if process.returncode is None:
                process.kill()
        await asyncio.gather(*ends)

    async def upstream(self, models: tuple[str, ...]) -> str:
        """Start a mock upstream that announces these models; its base URL."""
        port = free_port()
        arguments = ["--port", str(port), "--models", ",".join(models)]
        await self._spawn("upstream", [str(TOOLS / "mock_upstream.py"), *arguments], {})
        url = f"http://{LOOPBACK}:{port}"
        await self._until(lambda: _answers(f"{url}/health"))
        return url

    async def _module(self, group: str, module: str, *arguments: str, **environment: str) -> None:
        if self.with_metrics:
            port = free_port()
            environment["CLAW_METRICS_PORT"] = str(port)
            self.metrics.setdefault(group, []).append(f"http://{LOOPBACK}:{port}/metrics")
        self.groups[group].append(await self._spawn(group, ["-m", module, *arguments], environment))

    async def _spawn(self, name: str, command: list[str], environment: dict[str, str]) -> int:
        """Start a Python program that ends with this process."""
        # Files, no pipes: nobody reads while a load runs, and a full pipe would stop the process.
        with (self._directory / f"{name}-{len(self._processes)}.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *launch_command([sys.executable, *command], signal.SIGKILL, None),
                cwd=PROJECT_ROOT,
                env={**self.environment, **environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._processes.append(process)
        return process.pid

    async def _serves(self) -> bool:
        redis = redis_client.connect(self.redis_url)
        try:
            announced = await redis.scard(WORKERS)  # type: ignore[misc]  # redis-py: or awaitable
        finally:
            await redis_client.close(redis)
        # Ready alone is not enough: one worker of several would do for that.
        return announced >= len(self.groups["worker"]) and all([await _answers(f"{url}/ready") for url in self.apis])

    async def _until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        deadline = time.monotonic() + READY_S
        while not await condition():
            ended = [process for process in self._processes if process.returncode is not None]
            if ended or time.monotonic() > deadline:
                raise StackFailed(f"The stack does not come up.\n{self._log_ends()}")
            await asyncio.sleep(_POLL_S)

    def _log_ends(self) -> str:
        return "\n".join(f"--- {log.name}\n{log.read_text()[-2000:]}" for log in sorted(self._directory.glob("*.log")))


@asynccontextmanager
async def running(
    *, apis: int = 1, workers: int = 1, with_metrics: bool = False, **environment: str
) -> AsyncIterator[Stack]:
    """Yield a stack that serves.

    Args:
        apis: how many api processes.
        workers: how many workers of the local tier.
        with_metrics: whether its processes serve metrics.
        environment: further variables for every process of the gateway.

    Raises:
        StackFailed: it does not come up.
    """
    with tempfile.TemporaryDirectory(prefix="claw-bench-") as folder:
        directory = Path(folder)
        valkey = EmbeddedValkey(directory)
        async with valkey, EmbeddedPostgres(directory, throwaway=True) as database_url:
            # As `nself claw up` has it: by its socket.
            stack = Stack(directory, valkey.shortest_url, database_url, pid_of(valkey))
            stack.environment |= environment
            stack.with_metrics = with_metrics
            try:
                await stack.start_upstreams()
                await stack.make_key()
                await stack.start(apis=apis, workers=workers, recorders=1)
                yield stack
            finally:
                await stack.stop()


def pid_of(valkey: EmbeddedValkey) -> int:
    """Return the process number of a Valkey that runs."""
    if valkey.child is None or valkey.child.pid is None:
        raise StackFailed("Valkey does not run.")
    return valkey.child.pid


async def _answers(url: str) -> bool:
    async with httpx.AsyncClient(trust_env=False, timeout=2) as client:
        try:
            return (await client.get(url)).status_code == 200
        except httpx.TransportError:
            return False
