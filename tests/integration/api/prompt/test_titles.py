"""Titles of sessions, on real servers and with a model that says what a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import pytest

from api.prompt.titles import MOST_TRIES, Titles
from api.requests.own_request import OwnRequest
from api.routing.live_backends import Capacity
from shared.errors import Overloaded
from shared.postgres.keys import KeyStore
from shared.postgres.session_directory import SessionChange, SessionDirectory, SessionFilter
from shared.redis.names import TITLES_LEASE, WORKERS, queue_name, running_key, worker_key
from shared.types import Announcement, BackendInfo, LocalModel
from tests.integration.api.manage.sample_chats import Chats, message

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from shared.postgres.database import Database

QUEUE = queue_name("local", "box")


class Model:
    """Says what it is told to, and notes what it was asked."""

    def __init__(self) -> None:
        self.says: list[str | Exception] = []
        self.asked: list[tuple[OwnRequest, str]] = []

    async def __call__(
        self, own: OwnRequest, messages: Sequence[Mapping[str, str]], *, model: str, max_tokens: int, temperature: float
    ) -> str:
        assert (model, max_tokens < 100, temperature) == ("local", True, 0.0)
        self.asked.append((own, messages[-1]["content"]))
        said = self.says.pop(0)
        if isinstance(said, Exception):
            raise said
        return said


class Stage:
    """A local tier with one model, and api processes that give titles."""

    def __init__(self, database: Database, redis: Redis) -> None:
        self.database, self.redis, self.model = database, redis, Model()
        self.capacity = Capacity(redis)
        self.directory = SessionDirectory(database)

    def process(self, api_id: str = "aa") -> Titles:
        """Return one api process."""
        return Titles(self.database, self.redis, self.capacity, api_id, self.model)

    async def offer(self, *models: LocalModel) -> None:
        """Let a worker announce these models."""
        backend = BackendInfo(tier="local", provider="openai", queue=QUEUE, slots=1, models=models)
        announced = Announcement(worker_id="bb", tier="local", backends=(backend,))
        await self.redis.set(worker_key("bb"), msgspec.json.encode(announced), ex=600)
        await self.redis.sadd(WORKERS, "bb")  # type: ignore[misc]  # redis-py: or awaitable
        await self.capacity.refresh()

    async def titles(self) -> list[str | None]:
        """Return the automatic titles, of the session that was used last first."""
        return [session.auto_title for session in await self.directory.page(SessionFilter(), 10)]


@pytest.fixture
async def stage(database: Database, redis: Redis) -> Stage:
    """Return all of it, with a model for chats."""
    made = Stage(database, redis)
    await made.offer(LocalModel("smollm2", endpoints=("chat",)))
    assert list(made.capacity.backends("local"))
    return made


async def test_a_session_gets_its_title_once(stage: Stage, database: Database) -> None:
    """From its first turn, for its key; one that has a title of its own needs none."""
    key, _ = await KeyStore(database).create("a")
    chats = Chats(database)
    chat = await chats.talk("How do I restart nginx?", "nself restart nginx", key_id=UUID(key.id))
    await chats.talk("And then?", "Nothing.", session_id=UUID(chat), key_id=UUID(key.id))
    named = await chats.talk("x")
    await stage.directory.update(UUID(named), SessionChange(title="Mine"))
    assert await stage.titles() == ["x", "How do I restart nginx?"]
    stage.model.says = ['"Restarting nginx"']
    for _ in range(2):
        await stage.process().look()
    assert await stage.titles() == ["x", "Restarting nginx"]
    ((own, told),) = stage.model.asked
    assert (own.purpose, own.key_id, own.is_awaited) == ("title", key.id, False)
    assert "How do I restart nginx?" in told
    assert "nself restart nginx" in told
    assert "And then?" not in told


async def test_a_long_turn_is_asked_about_in_part(stage: Stage, database: Database) -> None:
    """What a title costs is bounded."""
    await Chats(database).talk("q" * 100_000, "a" * 100_000)
    stage.model.says = ["Letters"]
    await stage.process().look()
    assert len(stage.model.asked[0][1]) < 4000


async def test_no_title_is_made_while_the_local_tier_is_busy(stage: Stage, database: Database, redis: Redis) -> None:
    """With a job that waits or runs; nor where no local model chats."""
    await Chats(database).talk("a")
    for key in (QUEUE, running_key(QUEUE)):
        await redis.zadd(key, {"job": 1})
        await stage.process().look()
        await redis.delete(key)
    await stage.offer(LocalModel("e5", endpoints=("embeddings",)))
    await stage.process().look()
    assert stage.model.asked == []


async def test_it_stops_as_soon_as_somebody_else_wants_the_model(
    stage: Stage, database: Database, redis: Redis
) -> None:
    """After the title that it is at."""
    for text in ("a", "b", "c"):
        await Chats(database).talk(text)

    class Interrupted(Model):
        async def __call__(self, *arguments: Any, **fields: Any) -> str:
            await redis.zadd(QUEUE, {"job": 1})
            return await super().__call__(*arguments, **fields)

    stage.model = Interrupted()
    stage.model.says = ["One", "Two", "Three"]
    await stage.process().look()
    assert len(stage.model.asked) == 1


async def test_one_process_gives_titles(stage: Stage, database: Database, redis: Redis) -> None:
    """The others go on once it is done, or dead."""
    for text in ("a", "b"):
        await Chats(database).talk(text)
    begun, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Model):
        async def __call__(self, *arguments: Any, **fields: Any) -> str:
            begun.set()
            await go_on.wait()
            return await super().__call__(*arguments, **fields)

    stage.model = Slow()
    stage.model.says = ["One", "Two"]
    first = asyncio.create_task(stage.process("aa").look())
    await begun.wait()
    await stage.process("cc").look()
    assert stage.model.asked == []
    go_on.set()
    await first
    assert len(stage.model.asked) == 2
    assert await redis.get(TITLES_LEASE) is None


async def test_without_a_title_the_first_words_stand_in(stage: Stage, database: Database) -> None:
    """After a few tries for good; a model that is away for a moment is asked again."""
    chats = Chats(database)
    await chats.talk("How do I restart nginx, and what happens to the requests that it has at that moment?")
    process = stage.process()
    stage.model.says = [Overloaded("full", code="queue_full"), TimeoutError(), TimeoutError()]
    for _ in range(MOST_TRIES):
        await process.look()
    assert await stage.titles() == ["How do I restart nginx, and what happens to the requests\u2026"]
    await process.look()
    assert len(stage.model.asked) == MOST_TRIES
    await chats.add(message("user", ""), message("assistant", "?"))
    # Asked once only: it would say the same again.
    stage.model.says = ["Yes. " * 40]
    await process.look()
    assert (await stage.titles())[0] == "?"
