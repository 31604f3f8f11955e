"""Real servers for the tests: one PostgreSQL and one Valkey for each pytest process (each worker of pytest-xdist).

`valkey_url` and `postgres_url` are the servers, `redis` an emptied Valkey, `database` a fresh migrated database,
`database_url` its address. Servers start when a test first asks for one. `fleet`, `api` and `client` are the gateway's
processes on a counting model server (`fleet_fixtures.py`), `ollama_fleet` and its like those on a scripted Ollama
(`ollama_fixtures.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import itertools
import os
import shutil
import tempfile
import time
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from hypothesis import settings

from cli.up.embedded.postgres import EmbeddedPostgres
from cli.up.embedded.postgres_home import system_folders
from cli.up.embedded.valkey import EmbeddedValkey
from shared.postgres.database import Database
from shared.redis import client as redis_client
from tests.fleet import PATIENCE_S
from tests.memoized import compile_urls_once, read_authorities_once
from tests.memory_folder import memory_folder
from tests.own_ports import keep_ports_apart
from tests.redis_names import undocumented

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from redis.asyncio import Redis

read_authorities_once()
compile_urls_once()

pytest_plugins = ["tests.hang_detector", "tests.fleet_fixtures", "tests.ollama_fixtures"]

# How long an example takes says more of the machine than of us; what hangs is ended by its detector. Each run draws
# other examples: many runs of a few find what one of many does, and `make test-long` draws many.
settings.register_profile("claw", deadline=None, max_examples=25)
settings.register_profile("long", deadline=None, max_examples=1000)
WAITING_CORES: Final = 2

_TEMPLATE = "claw_template"
_numbers = itertools.count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what `make test-long` says."""
    parser.addoption("--long", action="store_true", help="tests that take a number take the large one")


def pytest_configure(config: pytest.Config) -> None:
    """Let generators draw as many examples as this run has time for, and workers have ports of their own."""
    keep_ports_apart()
    settings.load_profile("long" if config.getoption("--long") else "claw")


def pytest_xdist_auto_num_workers() -> int:
    """Return the workers of `-n auto`: a few more than cores, since most tests wait for processes of theirs."""
    cores = os.cpu_count() or 1
    return cores + min(cores, WAITING_CORES)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Remove the databases of root's runs that were killed: their data folders are gone from the temporary one."""
    if os.geteuid() != 0 or hasattr(session.config, "workerinput"):
        return
    for place, data_dir in system_folders().items():
        if data_dir.is_relative_to(tempfile.gettempdir()) and not data_dir.exists():
            shutil.rmtree(place, ignore_errors=True)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Let garbage collections pass over the tests themselves: a process has half a million objects of them."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def is_long(request: pytest.FixtureRequest) -> bool:
    """Tell a test that is marked `soak` to take its large numbers."""
    return bool(request.config.getoption("--long"))


@pytest.fixture(scope="session")
async def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The address of this process's Valkey."""
    async with EmbeddedValkey(tmp_path_factory.mktemp("valkey")) as url:
        yield url


@pytest.fixture(scope="session")
async def _postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), throwaway=True)
    async with server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(_postgres: EmbeddedPostgres) -> str:
    """The address of this process's PostgreSQL; its role may create databases."""
    return _postgres.url()


@pytest.fixture
async def redis(valkey_url: str) -> AsyncIterator[Redis]:
    """A client of an emptied Valkey; replies are bytes. What a test leaves there must be in docs/redis.md."""
    client = redis_client.connect(valkey_url)
    try:
        await client.flushall()
        yield client
        assert await undocumented(client) == []
    finally:
        await redis_client.close(client)


async def _execute(url: str, statement: str) -> None:
    """Run one statement outside any database of a test."""
    connection = await asyncpg.connect(url, timeout=PATIENCE_S)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _database_at(server_url: str, name: str) -> str:
    return urlunsplit(urlsplit(server_url)._replace(path="/" + name))


@pytest.fixture(scope="session")
async def _template(_postgres: EmbeddedPostgres, postgres_url: str) -> AsyncIterator[str]:
    """The name of a migrated database; it is in memory if there is room, and so are its copies.

    A disk takes four times as long to make and remove the 400 files of a database.
    """
    with memory_folder() as folder:
        where = ""
        if folder is not None:
            _postgres.own(folder)
            await _execute(postgres_url, f"CREATE TABLESPACE memory LOCATION '{folder}'")
            where = "TABLESPACE memory"
        await _execute(postgres_url, f"CREATE DATABASE {_TEMPLATE} {where}")
        async with Database(_database_at(postgres_url, _TEMPLATE)) as database:
            await database.migrate()
        yield _TEMPLATE


@contextlib.asynccontextmanager
async def new_database(server_url: str, template: str = "template1") -> AsyncIterator[str]:
    """The address of a new database, dropped at the end."""
    name = f"claw_{next(_numbers)}"
    # Its other way writes every page to the log as well, for twice the CPU.
    await _execute(server_url, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    try:
        yield _database_at(server_url, name)
    finally:
        await _execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def empty_database_url(postgres_url: str) -> AsyncIterator[str]:
    """The address of a new database without any table."""
    async with new_database(postgres_url) as url:
        yield url


@pytest.fixture
async def database_url(postgres_url: str, _template: str) -> AsyncIterator[str]:
    """The address of a new migrated database."""
    async with new_database(postgres_url, _template) as url:
        yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A new migrated database."""
    async with Database(database_url) as opened:
        yield opened


class Eventually(Protocol):
    """Waits for what another process or task brings about."""

    async def __call__(
        self, condition: Callable[[], object], *, bound_s: float = PATIENCE_S, every_s: float = 0.02
    ) -> Any:
        """Return what `condition` (a function or coroutine function) returns, once that is true; fail after `bound_s`.

        A look that the gateway itself limits by the minute is taken `every_s` seconds only.
        """


@pytest.fixture(scope="session")
def eventually() -> Eventually:
    """Polls a condition, with a deadline."""

    async def poll(condition: Callable[[], object], *, bound_s: float = PATIENCE_S, every_s: float = 0.02) -> Any:
        deadline = time.monotonic() + bound_s
        while True:
            outcome = condition()
            value = await outcome if inspect.isawaitable(outcome) else outcome
            if value:
                return value
            if time.monotonic() > deadline:
                raise AssertionError(f"still false after {bound_s} s: {condition}")
            await asyncio.sleep(every_s)

    return poll
