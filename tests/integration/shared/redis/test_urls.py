"""Every kind of Redis URL against real servers: TLS, Unix socket, Sentinel and its fail-over."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from shared.queue.arq_queue import QueueWorker
from shared.queue.placement import Candidate, PlacementOptions, enqueue
from shared.redis import client as redis_client
from shared.redis.subscription import next_message, subscription
from shared.types import Job, JobDraft, Target
from tests.fleet import PATIENCE_S, Fleet, chat, ready
from tests.redis_servers import CERTIFICATES, Sentinels, Server, TLSProxy
from tests.streams import Reader
from tests.upstreams.closing import accept_no_more
from tests.upstreams.numbered import NumberedUpstream, words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from redis.asyncio import Redis

    from tests.conftest import Eventually

CA = f"ssl_ca_certs={CERTIFICATES / 'ca.pem'}"
QUEUE = "arq:queue:local:test"


async def serves_everything(redis: Redis) -> None:
    """Check a command, a pipeline, a message on a subscription, and a job through arq's worker."""
    assert await redis.set("written", b"1")
    pipeline = redis.pipeline(transaction=False)
    pipeline.get("written")
    assert await pipeline.execute() == [b"1"]
    async with subscription(redis, "news") as pubsub:
        assert await redis.publish("news", b"hello") == 1
        assert await next_message(pubsub, PATIENCE_S) == (b"news", b"hello")
    ran: asyncio.Queue[Job] = asyncio.Queue()
    worker = QueueWorker(
        redis, QUEUE, slots=lambda: 1, worker_id="00" * 16, longest_s=10, lease_s=5, run=ran.put, may_help=bool
    )
    working = asyncio.create_task(worker.main())
    draft = JobDraft(
        request_id=os.urandom(16).hex(),
        attempt=1,
        api_id="11" * 16,
        endpoint="chat",
        requested_model="m",
        stream=False,
        admitted_ms=0,
        expires_ms=0,
        body=msgspec.Raw(b"{}"),
    )
    candidate = Candidate(target=Target("local", QUEUE, "m"))
    assert await enqueue(redis, draft, [candidate], options=PlacementOptions(most_waiting=10)) == 0
    worker.wake()
    assert (await ran.get()).request_id == draft.request_id
    worker.stop_claiming()
    await working


@pytest.fixture
async def tls(valkey_url: str) -> AsyncIterator[TLSProxy]:
    """Valkey behind TLS."""
    async with TLSProxy(urlsplit(valkey_url).port or 0) as proxy:
        yield proxy


def over_tls(valkey_url: str, proxy: TLSProxy, query: str, host: str = "localhost") -> str:
    """Return the URL of Valkey behind `proxy`."""
    return f"rediss://default:{urlsplit(valkey_url).password}@{host}:{proxy.port}/0?{query}"


async def test_tls_with_the_right_authority_serves_everything(valkey_url: str, tls: TLSProxy) -> None:
    """By name and by address, with user and password."""
    for host in ("localhost", "127.0.0.1"):
        redis = redis_client.connect(over_tls(valkey_url, tls, CA, host))
        await serves_everything(redis)
        await redis_client.close(redis)
    assert tls.handshakes >= 2


@pytest.mark.parametrize("query", [f"ssl_ca_certs={CERTIFICATES / 'other_ca.pem'}", ""])
async def test_tls_with_the_wrong_authority_is_refused(valkey_url: str, tls: TLSProxy, query: str) -> None:
    """One that did not sign the certificate, or none but those of the system."""
    redis = redis_client.connect(over_tls(valkey_url, tls, query))
    with pytest.raises(RedisConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
        await redis.ping()
    await redis_client.close(redis)
    assert tls.handshakes == 0


async def test_tls_checks_the_name_unless_reported_otherwise(valkey_url: str) -> None:
    """A certificate for another host is refused by default; each check can be switched off in the URL."""
    async with TLSProxy(urlsplit(valkey_url).port or 0, "elsewhere.pem") as proxy:
        redis = redis_client.connect(over_tls(valkey_url, proxy, CA))
        with pytest.raises(RedisConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            await redis.ping()
        await redis_client.close(redis)
        for query in (f"{CA}&ssl_check_hostname=false", "ssl_cert_reqs=none"):
            redis = redis_client.connect(over_tls(valkey_url, proxy, query))
            assert await redis.ping()
            await redis_client.close(redis)


async def test_tls_shows_its_own_certificate_where_one_is_wanted(valkey_url: str) -> None:
    """Without it the server ends the connection."""
    async with TLSProxy(urlsplit(valkey_url).port or 0, client_ca="ca.pem") as proxy:
        redis = redis_client.connect(over_tls(valkey_url, proxy, CA))
        with pytest.raises(redis_client.UNREACHABLE):
            await redis.ping()
        await redis_client.close(redis)
        client = f"{CA}&ssl_certfile={CERTIFICATES / 'client.pem'}&ssl_keyfile={CERTIFICATES / 'client.pem'}"
        redis = redis_client.connect(over_tls(valkey_url, proxy, client))
        await serves_everything(redis)
        await redis_client.close(redis)


async def test_a_unix_socket_serves_everything(tmp_path: Path, eventually: Eventually) -> None:
    """unix:// with the database in the query."""
    server = Server(tmp_path / "server", 'save ""\nunixsocket socket\n')
    await server.start()
    redis = redis_client.connect(f"unix://{tmp_path}/server/socket?db=1")
    try:
        await eventually((tmp_path / "server" / "socket").exists)
        await serves_everything(redis)
    finally:
        await redis_client.close(redis)
        await server.kill()


@pytest.fixture
async def sentinels(tmp_path: Path, eventually: Eventually) -> AsyncIterator[Sentinels]:
    """Yield a master with a replica and three Sentinels, all with passwords."""
    async with Sentinels(tmp_path, eventually) as started:
        yield started


async def test_sentinel_leads_to_the_new_master_after_a_fail_over(sentinels: Sentinels, eventually: Eventually) -> None:
    """With one Sentinel not there at all; a subscription breaks and its successor is at the new master."""
    redis = redis_client.connect(sentinels.url)
    await serves_everything(redis)
    await redis.set("kept", b"1")
    assert await redis.wait(1, 5000) == 1
    async with subscription(redis, "news") as pubsub:
        await sentinels.master.kill()
        with pytest.raises(redis_client.UNREACHABLE):
            await next_message(pubsub, 5)

    async def served() -> bool:
        try:
            return bool(await redis.set("again", b"1"))
        except redis_client.UNREACHABLE:
            return False

    await eventually(served)
    assert await redis.get("kept") == b"1"
    assert (await redis.info("server"))["tcp_port"] == sentinels.replica.port
    await serves_everything(redis)
    await redis_client.close(redis)


async def test_a_master_that_has_become_a_replica_is_left(sentinels: Sentinels, eventually: Eventually) -> None:
    """A fail-over by order: the old master lives on, but neither commands nor subscriptions stay with it."""
    redis = redis_client.connect(sentinels.url)
    watcher = redis_client.connect(f"redis://:another@127.0.0.1:{sentinels.sentinels[0].port}")
    async with subscription(redis, "news") as pubsub:
        await watcher.execute_command("SENTINEL", "FAILOVER", "main")  # type: ignore[no-untyped-call]  # redis-py has no types here
        with pytest.raises(redis_client.UNREACHABLE):
            await next_message(pubsub, 20)
    await redis_client.close(watcher)

    async def served() -> bool:
        try:
            async with subscription(redis, "news"):
                return bool(await redis.publish("news", b"") == 1)
        except redis_client.UNREACHABLE:
            return False

    await eventually(served)
    await serves_everything(redis)
    assert (await redis.info("server"))["tcp_port"] == sentinels.replica.port
    await redis_client.close(redis)


@asynccontextmanager
async def sentinel_that_names(port: int) -> AsyncIterator[int]:
    """Yield the port of a scripted Sentinel, for whom the master `main` is at `port` of this machine."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        state = ["name", "main", "ip", "localhost", "port", str(port), "flags", "master", "num-other-sentinels", "0"]
        masters = f"*1\r\n*{len(state)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in state)
        while line := await reader.readline():
            if line.upper() in {b"AUTH\r\n", b"CLIENT\r\n"}:
                writer.write(b"+OK\r\n")
            elif line == b"MASTERS\r\n":
                writer.write(masters.encode())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    await accept_no_more(server)


async def test_sentinel_over_tls_asks_and_connects_over_tls(valkey_url: str, tls: TLSProxy) -> None:
    """rediss+sentinel://: a Sentinel that says where the TLS port of the master is, both with checked certificates."""
    async with sentinel_that_names(tls.port) as port, TLSProxy(port) as front:
        login = f"default:{urlsplit(valkey_url).password}"
        redis = redis_client.connect(f"rediss+sentinel://{login}@localhost:{front.port}/main?{CA}&sentinel_password=x")
        await serves_everything(redis)
        await redis_client.close(redis)
        assert (front.handshakes >= 1, tls.handshakes >= 1) == (True, True)


async def test_a_replica_is_never_taken_for_the_master(tmp_path: Path, eventually: Eventually) -> None:
    """Even if a Sentinel says so: nobody would publish where the subscription is."""
    replica = Server(tmp_path / "replica", 'bind 127.0.0.1\nsave ""\nreplicaof 127.0.0.1 1\n')
    await replica.start()
    async with sentinel_that_names(replica.port) as port:
        redis = redis_client.connect(f"redis+sentinel://127.0.0.1:{port}/main")

        async def refused() -> bool:
            with pytest.raises(RedisConnectionError) as raised:
                async with subscription(redis, "news"):
                    pass
            return "is not the master" in str(raised.value)

        await eventually(refused)
        await redis_client.close(redis)
    await replica.kill()


async def test_a_fleet_on_sentinel_outlives_its_master(
    tmp_path: Path, sentinels: Sentinels, database_url: str, eventually: Eventually
) -> None:
    """Streams in flight end whole or with one clear error, in order and nothing twice; then all works as before."""
    environment = {"CLAW_HEARTBEAT_S": "0.2", "CLAW_HEARTBEAT_BOUND_S": "4"}
    async with (
        NumberedUpstream(tokens=40) as upstream,
        Fleet(tmp_path, sentinels.url, database_url, {"CLAW_LOCAL_OPENAI_URL": upstream.url, **environment}) as fleet,
    ):
        api = await fleet.api()
        await fleet.worker()
        await fleet.recorder()
        await ready(api, eventually)
        headers = {"authorization": f"Bearer {await fleet.key()}"}
        async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=60) as client:
            upstream.hold_at = 7
            readers = [Reader(client) for _ in range(20)]
            await eventually(lambda: all(reader.content == words(7) for reader in readers))
            await sentinels.master.kill()
            upstream.resume.set()
            await asyncio.gather(*(reader.task for reader in readers))
            for reader in readers:
                if reader.done:
                    assert reader.content == words(40)
                else:
                    assert words(40).startswith(reader.content)
                    assert reader.error["code"] in {"queue_lost", "worker_lost"}
            assert any(reader.done for reader in readers)
            assert len(upstream.requests) == 20

            async def served() -> bool:
                return (await client.post("/v1/chat/completions", json=chat())).status_code == 200

            await eventually(served)
            assert (await client.get("/ready")).status_code == 200

            async def logged() -> bool:
                return len(await fleet.usage()) >= 20 and await _open_requests(sentinels.url) == 0

            await eventually(logged)


async def _open_requests(url: str) -> int:
    redis = redis_client.connect(url)
    found = [key async for key in redis.scan_iter("claw:open:*")]
    await redis_client.close(redis)
    return len(found)
