"""A Redis that answers "no": not the same as one that does not answer, and the operator learns what to mend."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx
import pytest
from redis.asyncio import Redis

from cli.up.ports import free_port
from shared.redis.client import UNREACHABLE
from tests.fleet import PATIENCE_S, Fleet, Process, chat, ready
from tests.redis_servers import Server
from tests.upstreams.numbered import NumberedUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.conftest import Eventually

CONFIGURATION = 'bind 127.0.0.1\nsave ""\n'
ALL = "~* &* +@all"
START: dict[str, tuple[str, str, str]] = {
    "no wake channels": (
        "user gateway on >pw ~* resetchannels &claw:relay:* &claw:control:* &claw:news +@all",
        "pw",
        "the channels claw:*",
    ),
    "not its keys": ("user gateway on >pw ~claw:* &* +@all", "pw", "the keys claw:* and arq:*"),
    "no scripts": (f"user gateway on >pw {ALL} -@scripting", "pw", "scripts"),
    "no streams": (f"user gateway on >pw {ALL} -@stream", "pw", "streams"),
    "another password": (f"user gateway on >other {ALL}", "pw", "password in REDIS_URL is wrong"),
    "no memory": (f"user gateway on >pw {ALL}\nmaxmemory 200kb", "pw", "raise its maxmemory"),
    "eviction": (f"user gateway on >pw {ALL}\nmaxmemory 100mb\nmaxmemory-policy allkeys-lru", "pw", "noeviction"),
    "a cluster": (f"user gateway on >pw {ALL}\ncluster-enabled yes\ncluster-port {free_port()}", "pw", "Cluster"),
}


async def _answers(server: Server) -> bool:
    try:
        async with Redis(port=server.port) as client:
            return bool(await client.ping())
    except UNREACHABLE:
        return False


@pytest.mark.parametrize(
    ("process", "case"),
    [*(("api", case) for case in START), ("workers local", "no scripts"), ("workers recorder", "eviction")],
)
async def test_a_process_does_not_start_on_a_redis_that_cannot_serve_it(
    tmp_path: Path, database_url: str, eventually: Eventually, process: str, case: str
) -> None:
    """It ends with the exit code for configuration and says what to mend."""
    lines, password, expected = START[case]
    server = Server(tmp_path / "server", f"{CONFIGURATION}{lines}\n")
    await server.start()
    await eventually(lambda: _answers(server))
    try:
        started = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *process.split(),
            env={
                "REDIS_URL": f"redis://gateway:{password}@127.0.0.1:{server.port}/0",
                "DATABASE_URL": database_url,
                "PLUGIN_INTERNAL_SECRET": "secret-of-this-test",
                "CLAW_DATA_DIR": str(tmp_path),
                "CLAW_PORT": "0",
            },
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(PATIENCE_S):
            _, output = await started.communicate()
    finally:
        await server.kill()
        with suppress(ProcessLookupError):
            started.kill()
    assert started.returncode == 78, output
    assert expected in output.decode()
    assert b"Traceback" not in output
    assert password.encode() not in output.splitlines()[-1].split()


class Refusing:
    """A fleet on a Valkey that the test may turn against it.

    Attributes:
        admin: a client that is always let in.
    """

    def __init__(self, api: Process, worker: Process, client: httpx.AsyncClient, admin: Redis) -> None:
        self.api = api
        self.worker = worker
        self.client = client
        self.admin = admin

    async def code(self) -> str:
        """Return the code of the error that a request ends with; empty where it is served."""
        reply = await self.client.post("/v1/chat/completions", json=chat())
        assert reply.status_code in {200, 502, 503}, reply.text
        return "" if reply.status_code == 200 else str(reply.json()["error"]["code"])

    async def why(self) -> tuple[int, str]:
        """Return the status of /ready and what it says of Redis."""
        reply = await self.client.get("/ready")
        return reply.status_code, reply.json().get("why", {}).get("redis", "")


@pytest.fixture
async def refusing(tmp_path: Path, database_url: str, eventually: Eventually) -> AsyncIterator[Refusing]:
    """Healthy so far."""
    users = "".join(f"user {name} on >pw {ALL}\n" for name in ("gateway", "worker"))
    server = Server(tmp_path / "server", CONFIGURATION + users)
    await server.start()
    await eventually(lambda: _answers(server))
    url = f"redis://gateway:pw@127.0.0.1:{server.port}/0"
    async with NumberedUpstream() as upstream, Redis(port=server.port) as admin:
        environment = {"CLAW_LOCAL_OPENAI_URL": upstream.url, "CLAW_HEARTBEAT_S": "0.2", "CLAW_HEARTBEAT_BOUND_S": "5"}
        async with Fleet(tmp_path, url, database_url, environment) as fleet:
            api = await fleet.api()
            worker = await fleet.worker(REDIS_URL=url.replace("gateway", "worker"))
            await fleet.recorder()
            await ready(api, eventually)
            headers = {"authorization": f"Bearer {await fleet.key()}"}
            async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=PATIENCE_S) as client:
                yield Refusing(api, worker, client, admin)
    await server.kill()


@pytest.mark.parametrize(
    ("spoil", "mend", "expected"),
    [
        ("ACL SETUSER gateway -evalsha -eval", "ACL SETUSER gateway +evalsha +eval", "the commands of"),
        ("ACL SETUSER gateway -zadd", "ACL SETUSER gateway +zadd", "zadd"),
        ("ACL SETUSER gateway resetchannels", "ACL SETUSER gateway allchannels", "the channels claw:*"),
        ("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0", "NOREPLICAS"),
    ],
)
async def test_a_redis_that_begins_to_refuse_is_named_and_recovers(
    refusing: Refusing, eventually: Eventually, spoil: str, mend: str, expected: str
) -> None:
    """Requests say that it refuses, /ready says what, the log says it once; when it is mended all is served again."""
    assert not await refusing.code()
    await refusing.admin.execute_command(*spoil.split())  # type: ignore[no-untyped-call]  # redis-py has no types here

    async def is_refused() -> bool:
        return await refusing.code() == "queue_refused"

    await eventually(is_refused)
    status, why = await refusing.why()
    assert (status, expected in why) == (503, True), why
    for _ in range(5):
        assert await refusing.code() == "queue_refused"
    lines = [line for line in refusing.api.log.read_text().splitlines() if "Redis refuses a command" in line]
    assert lines
    assert len(lines) == len(set(lines)) <= 3, lines
    await refusing.admin.execute_command(*mend.split())  # type: ignore[no-untyped-call]  # redis-py has no types here

    async def is_served() -> bool:
        return not await refusing.code()

    await eventually(is_served)
    assert (await refusing.why())[0] == 200


async def test_a_worker_that_may_not_answer_says_so_and_takes_nothing(
    refusing: Refusing, eventually: Eventually
) -> None:
    """Its requests fail for that reason, /ready names it, its log says it once; mended, it serves again."""
    assert not await refusing.code()
    spoil = "ACL SETUSER worker resetchannels &claw:control:* &claw:wake:* &claw:news"
    await refusing.admin.execute_command(*spoil.split())  # type: ignore[no-untyped-call]  # redis-py has no types here

    async def is_refused() -> bool:
        return await refusing.code() == "queue_refused"

    await eventually(is_refused)
    status, why = await refusing.why()
    assert (status, "A worker can serve nothing" in why, "the channels claw:*" in why) == (503, True, True), why
    lines = [line for line in refusing.worker.log.read_text().splitlines() if "Redis" in line]
    assert 1 <= len(lines) == len(set(lines)) <= 3, lines
    await refusing.admin.execute_command("ACL", "SETUSER", "worker", "allchannels")  # type: ignore[no-untyped-call]  # redis-py has no types here

    async def is_served() -> bool:
        return not await refusing.code()

    await eventually(is_served)


async def test_a_full_redis_is_named(refusing: Refusing) -> None:
    """Scripts that free something first may still pass; /ready says at once that it is full, and when it is not."""
    await refusing.admin.config_set("maxmemory", "1")
    status, why = await refusing.why()
    assert (status, "raise its maxmemory" in why) == (503, True), why
    assert await refusing.code() in {"", "queue_refused"}
    await refusing.admin.config_set("maxmemory", "0")
    assert (await refusing.why())[0] == 200


async def test_one_key_of_another_type_is_named(refusing: Refusing) -> None:
    """WRONGTYPE concerns what it stands in; the rest goes on, and /ready says it for a while."""
    assert not await refusing.code()
    rate = [key async for key in refusing.admin.scan_iter("claw:rate:*")]
    await refusing.admin.set(rate[0], b"spoilt")
    assert await refusing.code() == "queue_refused"
    status, why = await refusing.why()
    assert (status, "WRONGTYPE" in why) == (200, True), why
