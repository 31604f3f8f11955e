"""Every kind of process and of Redis' memory is lost again and again under load: the log and the budget stay true."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest

from shared.models.catalogue import nano_usd
from shared.redis import client as redis_client
from shared.redis.client import UNREACHABLE
from tests.clock import day_lasts
from tests.fleet import INTERNAL_SECRET, PATIENCE_S, Fleet, Process, chat, ready
from tests.redis_names import immortal
from tests.redis_servers import Pair
from tests.streams import content, events
from tests.upstreams.numbered import NumberedUpstream, words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from redis.asyncio import Redis

    from tests.conftest import Eventually

MODEL = "gpt-4.1"
TOKENS = 40
SECONDS, SECONDS_LONG = 100, 1800
CLIENTS = 16
TOKEN = {"x-internal-token": INTERNAL_SECRET}
BOUNDS = {"CLAW_HEARTBEAT_S": "0.2", "CLAW_HEARTBEAT_BOUND_S": "1.5", "CLAW_REDIS_OUTAGE_S": "10"}
FLUSH_WHEN_RECORDED = "if redis.call('XLEN', 'claw:usage') == 0 then redis.call('FLUSHALL') return 1 end return 0"
"""What only Redis has of a request that is over goes with Redis; so the test takes the rest away."""


class Answer(NamedTuple):
    """What a client got of a request that was answered whole."""

    request_id: str
    text: str
    after: str = ""


class Chaos:
    """A gateway under load that loses its parts."""

    def __init__(self, fleet: Fleet, pair: Pair, upstream: NumberedUpstream, eventually: Eventually) -> None:
        self._fleet = fleet
        self._pair = pair
        self._upstream = upstream
        self._eventually = eventually
        self._random = random.Random(7)
        self._apis: list[Process] = []
        self._workers: list[Process] = []
        self._recorders: list[Process] = []
        self.answers: list[Answer] = []
        self.last = "the start"
        self.struck: Counter[str] = Counter()

    async def start(self) -> None:
        """Start two processes of each kind."""
        for _ in range(2):
            self._recorders.append(await self._fleet.recorder())
            await self._new_worker()
            await self._new_api()

    async def run(self, seconds: float) -> None:
        """Ask and strike for so long, and wait until all clients have their answers or errors."""
        stop = asyncio.Event()
        key = await self._fleet.key()
        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(self._ask_on(stop, key))
            deadline = time.monotonic() + seconds
            strikes = self._strikes()
            # Each kind is struck in turn, so that a short run strikes all.
            for kind in itertools.cycle(strikes):
                if time.monotonic() > deadline:
                    break
                before = len(self.answers)
                self.last = kind
                await strikes[kind]()
                self.struck[kind] += 1
                await self._eventually(lambda: len(self.answers) > before + CLIENTS)  # noqa: B023 -- at once
            stop.set()

    def _strikes(self) -> dict[str, Callable[[], Awaitable[object]]]:
        return {
            "a worker dies": self._kill_worker,
            "Redis forgets its scripts": lambda: self._command("SCRIPT", "FLUSH"),
            "an api dies": self._kill_api,
            "Redis loses everything": self._flush,
            "a recorder dies": self._kill_recorder,
            "subscriptions break": lambda: self._command("CLIENT", "KILL", "TYPE", "pubsub"),
            "a worker is stopped": self._stop_worker,
            "Redis fails over": self._fail_over,
        }

    async def _ask_on(self, stop: asyncio.Event, key: str) -> None:
        async with httpx.AsyncClient(headers={"authorization": f"Bearer {key}"}, timeout=PATIENCE_S) as client:
            while not stop.is_set():
                api = self._random.choice(self._apis)
                try:
                    answer = await _ask(client, api, stream=self._random.random() < 0.7)
                except httpx.HTTPError:
                    await asyncio.sleep(0)  # its api is dead: another one is asked
                else:
                    if answer is not None:
                        assert answer.text == words(TOKENS)
                        self.answers.append(answer._replace(after=self.last))

    async def _new_worker(self) -> None:
        worker = await self._fleet.worker("paid", OPENAI_API_KEY="sk-test", OPENAI_BASE_URL=self._upstream.url)
        await self._eventually(lambda: "serving" in worker.log.read_text())
        self._workers.append(worker)

    async def _new_api(self) -> None:
        api = await self._fleet.api(PLUGIN_AI_MONTHLY_BUDGET_USD="1000")
        await ready(api, self._eventually)
        self._apis.append(api)

    async def _kill_worker(self) -> None:
        self._workers.pop(0).kill()
        await self._new_worker()

    async def _stop_worker(self) -> None:
        self._workers.pop(0).terminate()
        await self._new_worker()

    async def _kill_api(self) -> None:
        self._apis.pop(0).kill()
        await self._new_api()

    async def _kill_recorder(self) -> None:
        self._recorders.pop(0).kill()
        self._recorders.append(await self._fleet.recorder())

    async def _fail_over(self) -> None:
        await self._pair.fail_over()
        await self._eventually(self._pair.in_sync)

    async def _flush(self) -> None:
        async def flushed() -> bool:
            return bool(await self._command("EVAL", FLUSH_WHEN_RECORDED, 0))

        await self._eventually(flushed)

    async def _command(self, *words_: str | int) -> Any:
        redis = redis_client.connect(self._pair.url)
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    with suppress(*UNREACHABLE):  # of a busy machine, or during the fail-over before this
                        return await redis.execute_command(*words_)  # type: ignore[no-untyped-call]  # redis-py has no types here
        finally:
            await redis_client.close(redis)

    async def settled(self, redis: Redis) -> None:
        """Wait until nothing is open, reserved or on its way to the log."""
        left: dict[str, Any] = {}

        async def is_settled() -> bool:
            left.clear()
            busy = ("arq:job:*", "arq:in-progress:*", "claw:open:*")
            left["keys"] = [name for pattern in busy async for name in redis.scan_iter(pattern, count=1000)]
            left["unrecorded"] = await redis.xlen("claw:usage")
            left["held_usd"] = (await self.budget())["held_usd"]
            left["reserved"] = [
                field
                async for budget in redis.scan_iter("claw:budget:*")
                for field in await redis.hkeys(budget)  # type: ignore[misc]  # redis-py: or awaitable
                if field.startswith(b"r:")
            ]
            return not any(left.values())

        try:
            await self._eventually(is_settled)
        except AssertionError:
            pytest.fail(f"not settled: {left}")

    async def accounts_agree(self) -> None:
        """Wait until what is spent is the sum of the log's rows: who closes a request again may do so after the end."""
        seen = (0, 0)

        async def agree() -> bool:
            nonlocal seen
            logged = sum(nano_usd(float(row["cost_usd"])) for row in await self._fleet.usage())
            seen = nano_usd((await self.budget())["spent_usd"]), logged
            return seen[0] == seen[1]

        try:
            await self._eventually(agree, bound_s=2 * PATIENCE_S)
        except AssertionError:
            pytest.fail(f"spent and logged, in billionths of US dollars: {seen}; {self.struck}, {self.last} last")

    async def budget(self) -> dict[str, Any]:
        """Return the month's budget, as the operator sees it."""
        async with httpx.AsyncClient(base_url=self._apis[-1].url, headers=TOKEN, timeout=PATIENCE_S) as asking:
            shown: dict[str, Any] = (await asking.get("/claw/v1/budget")).json()
            return shown


async def _ask(client: httpx.AsyncClient, api: Process, *, stream: bool) -> Answer | None:
    """Return a whole answer; None where an error came."""
    body = chat(model=MODEL, max_tokens=100, stream=stream)
    reply = await client.post(f"{api.url}/v1/chat/completions", json=body)
    if reply.status_code != 200:
        return None
    if not stream:
        return Answer(reply.headers["x-request-id"], reply.json()["choices"][0]["message"]["content"])
    if not reply.text.endswith("data: [DONE]\n\n"):
        return None
    return Answer(reply.headers["x-request-id"], content(events(reply.text)))


@pytest.fixture
async def pair(tmp_path: Path, eventually: Eventually) -> AsyncIterator[Pair]:
    """A Redis that can fail over."""
    async with Pair(tmp_path, eventually) as pair:
        yield pair


@pytest.fixture
async def chaos(tmp_path: Path, pair: Pair, database_url: str, eventually: Eventually) -> AsyncIterator[Chaos]:
    """The gateway, started."""
    async with NumberedUpstream(tokens=TOKENS) as upstream:
        upstream.models = [MODEL]
        async with Fleet(tmp_path, pair.url, database_url, BOUNDS) as fleet:
            chaos = Chaos(fleet, pair, upstream, eventually)
            await chaos.start()
            yield chaos


@pytest.mark.soak
@pytest.mark.hang_bound_s(7200)
async def test_what_was_answered_is_in_the_log_and_in_the_budget(chaos: Chaos, pair: Pair, *, is_long: bool) -> None:
    """Whatever is lost meanwhile: each answer has its row and tokens, and what was spent is the sum of the rows."""
    seconds = SECONDS_LONG if is_long else SECONDS
    await day_lasts(seconds + 5 * 60)
    await chaos.run(seconds)
    redis = redis_client.connect(pair.url)
    try:
        await chaos.settled(redis)
        rows = {f"req_{row['request_id'].hex}": row for row in await chaos._fleet.usage()}
        missing = [answer for answer in chaos.answers if answer.request_id not in rows]
        assert Counter(answer.after for answer in missing) == Counter()
        untrue = [
            rows[answer.request_id]
            for answer in chaos.answers
            if (rows[answer.request_id]["status"], rows[answer.request_id]["completion_tokens"]) != (200, TOKENS)
        ]
        assert untrue == []
        await chaos.accounts_agree()
        assert await immortal(redis) == []
        assert len(chaos.struck) == 8
    finally:
        await redis_client.close(redis)
