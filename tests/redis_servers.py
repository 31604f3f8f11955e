"""Redis as others run it: behind TLS, on a Unix socket, and as a master with a replica and three Sentinels."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

from redis.asyncio import Redis

from cli.up.child import Program, spawn
from cli.up.embedded.valkey import _binary
from cli.up.ports import free_port
from shared.redis.client import UNREACHABLE
from tests.upstreams.closing import accept_no_more

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from types import TracebackType

    from tests.conftest import Eventually

CERTIFICATES = Path(__file__).parent / "integration" / "shared" / "redis" / "certificates"
USER, PASSWORD = "gateway", "a+pass/word@1"
SENTINEL_PASSWORD = "another"
_DATA = f"""\
bind 127.0.0.1
save ""
user default on >{PASSWORD} ~* &* +@all
user {USER} on >{PASSWORD} ~* &* +@all
masterauth {PASSWORD}
repl-diskless-sync-delay 0
"""
_PAIR = 'bind 127.0.0.1\nsave ""\nrepl-diskless-sync-delay 0\n'
_SENTINEL = f"""\
bind 127.0.0.1
requirepass {SENTINEL_PASSWORD}
sentinel monitor main 127.0.0.1 {{master}} 2
sentinel auth-pass main {PASSWORD}
sentinel sentinel-pass {SENTINEL_PASSWORD}
sentinel down-after-milliseconds main 500
sentinel failover-timeout main 5000
"""


class Server:
    """One process of Valkey, which stays dead when it is killed.

    Args:
        directory: its own.
        configuration: the lines of its file; a port of its own is added.
        arguments: further ones for the command line.
    """

    def __init__(self, directory: Path, configuration: str, *arguments: str) -> None:
        self.port = free_port()
        self.process: Process | None = None
        self._directory = directory
        self._arguments = arguments
        directory.mkdir()
        (directory / "server.conf").write_text(f"port {self.port}\n{configuration}")

    async def start(self) -> None:
        """Start it; it dies with this process."""
        program = Program(
            name="valkey",
            command=(str(_binary()), str(self._directory / "server.conf"), *self._arguments),
            directory=self._directory,
            environment={},
        )
        with (self._directory / "log").open("wb") as log:
            self.process = await spawn(program, log.fileno())

    async def kill(self) -> None:
        """End it as a power cut would."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()


class Sentinels:
    """A master `main` with one replica, watched by three Sentinels; as a context manager it is ready to fail over.

    Args:
        directory: for their files.
        eventually: waits until they know each other.
    """

    def __init__(self, directory: Path, eventually: Eventually) -> None:
        self.master = Server(directory / "master", _DATA)
        self.replica = Server(directory / "replica", f"{_DATA}replicaof 127.0.0.1 {self.master.port}\n")
        watch = _SENTINEL.replace("{master}", str(self.master.port))
        self.sentinels = [Server(directory / f"sentinel-{number}", watch, "--sentinel") for number in range(3)]
        self._eventually = eventually

    @property
    def url(self) -> str:
        """Return where the gateway finds the master. The first Sentinel named is one that is not there."""
        addresses = ",".join(f"127.0.0.1:{server.port}" for server in self.sentinels)
        nobody = f"127.0.0.1:{free_port()}"
        query = f"sentinel_password={SENTINEL_PASSWORD}"
        return f"redis+sentinel://{USER}:{quote(PASSWORD, safe='')}@{nobody},{addresses}/main/0?{query}"

    async def __aenter__(self) -> Self:
        try:
            await self.master.start()
            await self.replica.start()
            # Sentinels ask every ten seconds: in sync before they do so first.
            await self._eventually(self._in_sync)
            for server in self.sentinels:
                await server.start()
            await self._eventually(self._know_each_other)
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in (*self.sentinels, self.replica, self.master):
            await server.kill()

    async def _in_sync(self) -> bool:
        async with Redis(port=self.replica.port, password=PASSWORD) as client:
            try:
                return bool((await client.info("replication"))["master_link_status"] == "up")
            except UNREACHABLE:
                return False

    async def _know_each_other(self) -> bool:
        for server in self.sentinels:
            async with Redis(port=server.port, password=SENTINEL_PASSWORD) as client:
                try:
                    master = (await client.sentinel_masters())["main"]  # type: ignore[no-untyped-call]  # redis-py has no types here
                    replicas = await client.sentinel_slaves("main")  # type: ignore[no-untyped-call]  # redis-py has no types here
                except (*UNREACHABLE, KeyError):
                    return False
            good = [one for one in replicas if one["flags"] == "slave" and one["master-link-status"] == "ok"]
            if (master["num-other-sentinels"], len(good)) != (2, 1):
                return False
        return True


class Proxy:
    """Takes connections on a free port and hands what they say to a server of this machine.

    Args:
        port: of the server behind it; `behind` may be changed, for the connections that come then.
        context: for TLS on the side of the clients.
    """

    def __init__(self, port: int, context: ssl.SSLContext | None = None) -> None:
        self.port = 0
        self.behind = port
        self.handshakes = 0
        self._context = context
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await accept_no_more(self._server)
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def cut(self) -> None:
        """End every connection; those that come then go on to `behind`."""
        for task in self._connections:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.handshakes += 1
        task = asyncio.ensure_future(self._forward(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            behind, answers = await asyncio.open_connection("127.0.0.1", self.behind)
        except OSError:
            writer.close()
            return
        try:
            ways = [asyncio.ensure_future(_copy(reader, answers)), asyncio.ensure_future(_copy(behind, writer))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        finally:
            answers.close()
            writer.close()


class TLSProxy(Proxy):
    """Takes TLS connections on a free port and hands what they say to a server that has no TLS.

    Args:
        port: of the server behind it.
        certificate: what it shows.
        client_ca: if given, a client must show a certificate of this authority.
    """

    def __init__(self, port: int, certificate: str = "server.pem", client_ca: str | None = None) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATES / certificate)
        if client_ca is not None:
            context.load_verify_locations(CERTIFICATES / client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        super().__init__(port, context)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()


class Pair:
    """A master and its replica behind one address, as a context manager that begins with both in sync.

    Args:
        directory: for their files.
        eventually: waits until the replica follows.
    """

    def __init__(self, directory: Path, eventually: Eventually) -> None:
        self._master = Server(directory / "master", _PAIR)
        self._replica = Server(directory / "replica", f"{_PAIR}replicaof 127.0.0.1 {self._master.port}\n")
        self._proxy = Proxy(self._master.port)
        self._eventually = eventually

    @property
    def url(self) -> str:
        """Return the address that does not change."""
        return f"redis://127.0.0.1:{self._proxy.port}/0"

    async def __aenter__(self) -> Self:
        await self._master.start()
        await self._replica.start()
        await self._proxy.__aenter__()
        await self._eventually(self.in_sync)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._proxy.__aexit__(kind, error, trace)
        await self._master.kill()
        await self._replica.kill()

    async def in_sync(self) -> bool:
        """Return whether the replica follows its master."""
        async with Redis(port=self._replica.port) as client:
            try:
                return bool((await client.info("replication"))["master_link_status"] == "up")
            except UNREACHABLE:
                return False

    async def fail_over(self) -> None:
        """Make the replica the master and the other way round; connections that are there stay where they are.

        As in a planned fail-over, the replica has all that the master took.
        """
        async with Redis(port=self._master.port) as master, Redis(port=self._replica.port) as replica:
            await master.client_pause(10_000, all=False)
            taken = (await master.info("replication"))["master_repl_offset"]

            async def has_all() -> bool:
                return bool((await replica.info("replication"))["slave_repl_offset"] >= taken)

            await self._eventually(has_all)
            await replica.replicaof("NO", "ONE")
            self._proxy.behind = self._replica.port
            await master.replicaof("127.0.0.1", str(self._replica.port))
            await master.client_unpause()
        self._master, self._replica = self._replica, self._master
