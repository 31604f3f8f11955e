"""The embedded servers, really run: data, secrets, crashes."""

import asyncio
import os
import shutil
import signal
import socket
import stat
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import asyncpg
import pytest
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as RedisConnectionError

from cli.up.child import launch_command
from cli.up.embedded import postgres as embedded_postgres
from cli.up.embedded.postgres import EmbeddedPostgres
from cli.up.embedded.server import ServerFailed
from cli.up.embedded.valkey import EmbeddedValkey
from shared.redis import client as redis_client

_DEADLINE_S = 120.0
_IS_ROOT = os.geteuid() == 0


@pytest.fixture
async def postgres(tmp_path: Path) -> AsyncIterator[EmbeddedPostgres]:
    """A durable one that is not started yet; what it leaves outside the data dir is removed."""
    server = EmbeddedPostgres(tmp_path)
    yield server
    await server.stop()
    if server.child is not None:
        shutil.rmtree(server.home.base, ignore_errors=True)


async def _until_not_raising(action: Callable[[], object]) -> None:
    deadline = time.monotonic() + _DEADLINE_S
    while True:
        try:
            await action()  # type: ignore[misc]  # redis-py: or awaitable
        except (OSError, RedisConnectionError, asyncpg.PostgresError):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        else:
            return


async def _execute(url: str, statement: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_valkey_keeps_its_data_and_its_port_when_it_is_killed(tmp_path: Path) -> None:
    """Killed by a crash it comes back by itself; ended and started again it is the same."""
    server = EmbeddedValkey(tmp_path)
    async with server as url, Redis.from_url(url) as client:
        await client.set("kept", "yes")
        assert server.child is not None
        assert server.child.pid is not None
        os.kill(server.child.pid, signal.SIGKILL)
        await _until_not_raising(client.ping)
        assert await client.get("kept") == b"yes"

    async with EmbeddedValkey(tmp_path) as second_url, Redis.from_url(second_url) as client:
        assert second_url == url
        assert await client.get("kept") == b"yes"


async def test_valkey_wants_its_password_and_shows_it_to_nobody(tmp_path: Path) -> None:
    """Not in the command line, which every user can read, and not in files that others can."""
    server = EmbeddedValkey(tmp_path)
    async with server as url:
        password = urlsplit(url).password or ""
        async with Redis(port=server.port) as stranger:
            with pytest.raises(AuthenticationError):
                await stranger.ping()
        assert server.child is not None
        command = await asyncio.to_thread(Path(f"/proc/{server.child.pid}/cmdline").read_text)

    assert len(password) >= 32
    assert password not in command
    assert stat.S_IMODE((tmp_path / "valkey" / "valkey.conf").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "secrets" / "valkey_password").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "valkey").stat().st_mode) == 0o700


async def test_valkey_works_in_a_folder_with_a_space_and_quotes(tmp_path: Path) -> None:
    """Its configuration file has a syntax of its own."""
    folder = tmp_path / 'a "b" c'
    folder.mkdir()
    async with EmbeddedValkey(folder) as url, Redis.from_url(url) as client:
        assert await client.config_get("dir") == {"dir": str(folder / "valkey")}


async def test_valkey_has_a_socket_for_this_machine(tmp_path: Path) -> None:
    """Which costs less than the network does, in any folder; for others it stays where redis-cli finds it."""
    folder = tmp_path / 'a "b" %c'
    server = EmbeddedValkey(folder)
    async with server as url:
        assert server.shortest_url.startswith("unix://")
        client = redis_client.connect(server.shortest_url)
        await client.set("kept", "yes")
        await redis_client.close(client)
        async with Redis.from_url(url) as other:
            assert await other.get("kept") == b"yes"
            assert await other.config_get("unixsocketperm") == {"unixsocketperm": "700"}


async def test_valkey_whose_folder_is_too_long_for_a_socket_has_none(tmp_path: Path) -> None:
    """The system's limit is 107 bytes."""
    server = EmbeddedValkey(tmp_path / ("long" * 30))
    async with server as url, Redis.from_url(url) as client:
        assert server.shortest_url == url
        assert await client.ping()


async def test_postgres_wants_its_password_and_listens_on_a_private_socket_only(postgres: EmbeddedPostgres) -> None:
    """Nothing on the network; others cannot even enter the socket's folder."""
    url = await postgres.start()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(url.replace(urlsplit(url).password or "", "wrong"))

    assert await _execute(url, "SHOW listen_addresses") == ""
    assert await _execute(url, "SELECT current_database()::text") == "claw"
    assert stat.S_IMODE(postgres.home.socket_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE(postgres.home.data.stat().st_mode) == 0o700


async def test_postgres_has_pgvector(postgres: EmbeddedPostgres) -> None:
    """The knowledge base will need it."""
    url = await postgres.start()

    await _execute(url, "CREATE EXTENSION vector")
    assert await _execute(url, "SELECT ('[1,2]'::vector <-> '[1,4]'::vector)::float8") == 2.0


async def test_postgres_comes_back_with_its_data_when_it_is_killed(postgres: EmbeddedPostgres) -> None:
    """Its leftover note and its orphaned processes do not hinder the next start."""
    url = await postgres.start()
    await _execute(url, "CREATE TABLE kept AS SELECT 42 AS number")
    assert postgres.child is not None
    assert postgres.child.pid is not None
    os.kill(postgres.child.pid, signal.SIGKILL)
    await _until_not_raising(lambda: _execute(url, "SELECT 1"))

    assert postgres.child.exits >= 1
    assert await _execute(url, "SELECT number FROM kept") == 42


async def test_a_note_that_names_a_foreign_process_does_not_stop_postgres(postgres: EmbeddedPostgres) -> None:
    """In a restarted container the number of the old postmaster may belong to anything of the same user."""
    await postgres.start()
    await postgres.stop()
    foreign = await asyncio.create_subprocess_exec(
        *launch_command(["sleep", "1000"], signal.SIGKILL, postgres.home.user)
    )
    while await asyncio.to_thread(Path(f"/proc/{foreign.pid}/comm").read_text) != "sleep\n":
        await asyncio.sleep(0.01)
    note = postgres.home.data / "postmaster.pid"
    note.write_text(f"{foreign.pid}\n{postgres.home.data}\n1\n5432\n{postgres.home.socket_dir}\n\n\nready\n")
    again = EmbeddedPostgres(postgres.data_dir)
    try:
        async with again as url:
            assert await _execute(url, "SELECT 1") == 1
            assert again.child is not None
            assert again.child.exits == 0
        assert foreign.returncode is None
    finally:
        foreign.kill()
        await foreign.wait()


async def test_a_cluster_that_was_cut_short_is_made_again(postgres: EmbeddedPostgres) -> None:
    """Ctrl-C in the middle of initdb leaves nothing that the next start would take for a cluster."""
    starting = asyncio.create_task(postgres.start())
    drafts: list[Path] = []
    deadline = time.monotonic() + _DEADLINE_S
    while not drafts:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)
        drafts = list(postgres.home.base.glob("draft-*/data")) if postgres._home else []
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not postgres.home.data.exists()

    async with EmbeddedPostgres(postgres.data_dir) as url:
        assert await _execute(url, "SELECT 1") == 1
    assert not list(postgres.home.base.glob("draft-*"))


async def test_data_of_another_major_version_is_refused_in_words(postgres: EmbeddedPostgres) -> None:
    """Instead of a server that dies again and again."""
    await postgres.start()
    await postgres.stop()
    (postgres.home.data / "PG_VERSION").write_text("12\n")

    with pytest.raises(ServerFailed, match="written by PostgreSQL 12"):
        await EmbeddedPostgres(postgres.data_dir).start()


async def test_a_throwaway_postgres_leaves_nothing_behind(tmp_path: Path) -> None:
    """Tests start many of them."""
    server = EmbeddedPostgres(tmp_path, throwaway=True)
    async with server as url:
        assert await _execute(url, "SELECT 1") == 1

    assert not server.home.base.exists()
    assert not server.home.socket_dir.exists()


async def test_the_path_of_the_socket_is_short_enough_wherever_the_data_is(tmp_path: Path) -> None:
    """The kernel allows about a hundred bytes."""
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    server = EmbeddedPostgres(folder, throwaway=True)
    async with server as url:
        assert await _execute(url, "SELECT 1") == 1
        host = unquote(urlsplit(url).query.partition("host=")[2].partition("&")[0])
        assert len(f"{host}/.s.PGSQL.5432") < 104
        assert stat.S_IMODE(server.home.socket_dir.stat().st_mode) == 0o700


@pytest.mark.skipif(not _IS_ROOT, reason="only root has to change the user")
async def test_as_root_postgres_runs_as_a_user_of_its_own(postgres: EmbeddedPostgres) -> None:
    """And no folder above the data dir has been opened to others."""
    postgres.data_dir.chmod(0o700)
    before = [stat.S_IMODE(path.stat().st_mode) for path in postgres.data_dir.parents]
    await postgres.start()
    assert postgres.child is not None

    owner = os.stat(f"/proc/{postgres.child.pid}").st_uid  # noqa: PTH116 -- in memory
    assert owner != 0
    assert postgres.home.data.stat().st_uid == owner
    assert [stat.S_IMODE(path.stat().st_mode) for path in postgres.data_dir.parents] == before
    assert stat.S_IMODE(postgres.data_dir.stat().st_mode) == 0o700


@pytest.mark.skipif(not _IS_ROOT, reason="only root keeps its data elsewhere")
async def test_root_does_not_take_over_the_data_of_an_ordinary_user(tmp_path: Path) -> None:
    """It would show an empty database, as if all keys were gone."""
    (tmp_path / "postgres" / "data").mkdir(parents=True)

    with pytest.raises(ServerFailed, match="holds the database of the user"):
        await EmbeddedPostgres(tmp_path).start()


async def test_a_server_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the last lines of its log, and well before the time for a slow start is over."""
    monkeypatch.setattr(embedded_postgres, "_UNSAFE_BUT_FAST", ("-c", "no_such_option=1"))
    server = EmbeddedPostgres(tmp_path, throwaway=True)
    try:
        with pytest.raises(ServerFailed, match="no_such_option"):
            await server.start()
    finally:
        await server.stop()


async def test_valkey_that_finds_its_port_taken_takes_another(tmp_path: Path) -> None:
    """And the URL says so."""
    async with EmbeddedValkey(tmp_path):
        port = int((tmp_path / "valkey" / "port").read_text())
    with socket.create_server(("127.0.0.1", port)):
        async with EmbeddedValkey(tmp_path) as url, Redis.from_url(url) as client:
            assert urlsplit(url).port != port
            assert await client.ping()
