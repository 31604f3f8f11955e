"""Real api, worker and recorder processes on real servers, for tests that count, kill and restart them."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any, Self

import httpx
import pytest

from cli.up.ports import free_port
from shared.postgres.database import Database
from shared.postgres.keys import KeyStore
from tests.forked import Forked
from tests.upstreams.numbered import MODEL

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from tests.conftest import Eventually

PATIENCE_S = 60.0
"""How long a test waits for an event: as long as the slowest machine may need. Only a test that fails waits so long."""

BOTH_WAYS = pytest.mark.parametrize(
    "fleet_environment", [{"CLAW_HTTP": "direct"}, {"CLAW_HTTP": "h11"}], ids=["direct", "h11"]
)
"""Of a test or a module that speaks HTTP byte by byte: with each of the two servers of HTTP/1.1."""
SWITCHES = ("CLAW_HTTP", "CLAW_REDIS_PIPE", "CLAW_UPSTREAM_HTTP")
"""Variables that the processes of all tests get from the environment of pytest: whole suites can run the other way."""
CRASHES = {-number for number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)}
"""Exit codes of a process that a C library has ended."""

INTERNAL_SECRET = "internal-secret-of-the-tests"


class Process:
    """One process of the fleet."""

    def __init__(self, name: str, process: Forked, log: Path, port: int) -> None:
        self.name = name
        self.process = process
        self.log = log
        self.url = f"http://127.0.0.1:{port}"

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()

    def terminate(self) -> None:
        """Ask it to end in order."""
        self.process.terminate()


class Fleet:
    """Starts processes against one Valkey and one database, and stops what is left at the end.

    Args:
        directory: for logs.
        redis_url: the Valkey.
        database_url: the migrated database.
        environment: further variables for every process.
    """

    def __init__(self, directory: Path, redis_url: str, database_url: str, environment: dict[str, str]) -> None:
        self.processes: list[Process] = []
        self.directory = directory
        self.database_url = self._database_url = database_url
        self.redis_url = redis_url
        self._environment = {
            "PATH": os.environ["PATH"],
            "CLAW_DATA_DIR": str(directory),
            "REDIS_URL": redis_url,
            "DATABASE_URL": database_url,
            "PLUGIN_INTERNAL_SECRET": INTERNAL_SECRET,
            "CLAW_DISCOVERY_INTERVAL_S": "0.2",
            "CLAW_DRAIN_DELAY_S": "0",
            "CLAW_TITLES": "false",  # what tests count is what they asked for
            **{name: os.environ[name] for name in SWITCHES if name in os.environ},
            **environment,
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes:
            process.kill()
        await asyncio.gather(*(process.process.wait() for process in self.processes))
        for process in self.processes:
            print(f"--- {process.name}\n{process.log.read_text()[-3000:]}")  # noqa: T201 -- shown where a test fails
        # Its clients see no more than a connection that ends.
        assert [each.name for each in self.processes if each.process.returncode in CRASHES] == []

    async def api(self, **environment: str) -> Process:
        """Start an api process on a free port, unless CLAW_PORT names one."""
        port = int(environment.pop("CLAW_PORT", free_port()))
        return self.start("api", ["api"], port, {"CLAW_PORT": str(port), **environment})

    async def worker(self, tier: str = "local", **environment: str) -> Process:
        """Start a worker of a tier."""
        return self.start(tier, ["workers", tier], 0, environment)

    async def recorder(self) -> Process:
        """Start a recorder."""
        return self.start("recorder", ["workers", "recorder"], 0, {})

    async def key(self, *, rpm_limit: int = 1_000_000, admin_allowed: bool = False) -> str:
        """A new gateway key."""
        async with Database(self._database_url) as database:
            _, secret = await KeyStore(database).create("test", rpm_limit=rpm_limit, admin_allowed=admin_allowed)
        return secret

    async def usage(self, *endpoints: str) -> list[dict[str, Any]]:
        """Return the rows of the usage log that are about these endpoints, about completions if none is named."""
        query = "SELECT * FROM np_claw_api_usage WHERE endpoint = ANY($1) ORDER BY admitted_at"
        async with Database(self._database_url) as database:
            rows = await database.fetch(query, list(endpoints or ("chat",)))
        return [dict(row) for row in rows]

    def start(self, kind: str, command: list[str], port: int, environment: dict[str, str]) -> Process:
        """Start `python -m` of a command."""
        name = f"{kind}-{len(self.processes)}"
        log = self.directory / f"{name}.log"
        started = Process(name, Forked(command, {**self._environment, **environment}, log), log, port)
        self.processes.append(started)
        return started


async def ready(api: Process, eventually: Eventually) -> None:
    """Wait until an api process can serve requests."""
    async with httpx.AsyncClient(timeout=PATIENCE_S) as client:

        async def answers() -> bool:
            try:
                return (await client.get(f"{api.url}/ready")).status_code == 200
            except httpx.TransportError:
                return False

        await eventually(answers)


def chat(**fields: Any) -> dict[str, Any]:
    """The body of a chat request."""
    return {"model": MODEL, "messages": [{"role": "user", "content": "count"}], **fields}
