"""What api and workers tell each other about the models on the disks of Ollama servers, over Redis.

Somebody wishes a model to be installed or removed: the api writes a `Wish` into the hash of a backend. One of the
backend's workers, its keeper, sees to the wishes and writes there how far they are; a wish whose keeper dies is taken
over by the next, since it stays in the hash until it is settled. What the server has, the keeper says in a
`StoreState`.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from shared.redis import scripts
from shared.redis.names import store_keeper, store_state, store_wishes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

MOST_WISHES: Final = 100
WISHES_LIFE_MS: Final = 24 * 3600 * 1000
SETTLED_LIFE_S: Final = 3600.0
"""How long it is shown how a wish ended."""
LOCAL_QUEUES: Final = "arq:queue:local:"


class StoredModel(msgspec.Struct, frozen=True):
    """A model on the disk of an Ollama server."""

    name: str
    size_bytes: int
    is_loaded: bool


class StoreState(msgspec.Struct, frozen=True):
    """What an Ollama server has. `free_ram_bytes` is that of the worker's machine, None where it cannot be told."""

    is_reachable: bool
    free_ram_bytes: int | None
    models: tuple[StoredModel, ...]


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """That a model be installed or removed, and how far that is. Times are milliseconds since 1970.

    `model` is a canonical name. `detail` is what Ollama says it is doing. `is_unknown` says of a failed removal that
    there is no such model; `may_be_absent` says that this is fine: it was removed or on its way when that was wished.
    """

    id: str
    kind: Literal["install", "remove"]
    model: str
    asked_ms: int
    state: Literal["waiting", "running", "done", "failed"] = "waiting"
    changed_ms: int = 0
    detail: str = ""
    completed_bytes: int = 0
    total_bytes: int = 0
    error: str | None = None
    is_unknown: bool = False
    may_be_absent: bool = False

    @property
    def is_settled(self) -> bool:
        """Whether there is nothing left to do."""
        return self.state in {"done", "failed"}

    @property
    def field(self) -> str:
        """Where it stands in the hash: Ollama ignores upper and lower case."""
        return self.model.casefold()


class Store(msgspec.Struct, frozen=True):
    """One backend's Ollama server as the api sees it; `state` is None until its keeper has looked."""

    queue: str
    state: StoreState | None
    wishes: tuple[Wish, ...]

    @property
    def host(self) -> str:
        """What the server is called: the backend's name, a host and a port."""
        return self.queue.removeprefix(LOCAL_QUEUES)

    @property
    def is_reachable(self) -> bool:
        """Whether it answered when its keeper looked."""
        return self.state is not None and self.state.is_reachable


_wish_decoder: Final = msgspec.json.Decoder(Wish)
_state_decoder: Final = msgspec.json.Decoder(StoreState)


def new_wish(kind: Literal["install", "remove"], model: str, *, may_be_absent: bool = False) -> Wish:
    """A wish of now."""
    identity = secrets.token_hex(16)
    return Wish(id=identity, kind=kind, model=model, asked_ms=int(time.time() * 1000), may_be_absent=may_be_absent)


async def stores(redis: Redis, queues: Sequence[str]) -> list[Store]:
    """The stores of these backends.

    Raises:
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`); so do all that follow.
    """
    pipeline = redis.pipeline(transaction=False)
    for queue in queues:
        pipeline.get(store_state(queue))
        pipeline.hvals(store_wishes(queue))
    answers = await pipeline.execute()
    return [
        Store(queue, _decoded_state(state), tuple(_decoded_wishes(wishes)))
        for queue, state, wishes in zip(queues, answers[::2], answers[1::2], strict=True)
    ]


async def ask(redis: Redis, queue: str, wish: Wish) -> Wish | None:
    """Make a wish; the one that stands, which is an older one of its kind that is still to be done; None: too many."""
    arguments = (wish.field, msgspec.json.encode(wish), wish.kind, WISHES_LIFE_MS, MOST_WISHES)
    stands = await scripts.run(redis, scripts.STORE_ASK, [store_wishes(queue)], *arguments)
    return None if stands is None else _wish_decoder.decode(stands)


async def wish_for(redis: Redis, queue: str, model: str) -> Wish | None:
    """The last wish for a model, by its canonical name."""
    words = await redis.hget(store_wishes(queue), model.casefold())  # type: ignore[misc]
    return next(iter(_decoded_wishes([words] if words else [])), None)


async def keep(redis: Redis, queue: str, worker_id: str, life_s: float) -> list[Wish] | None:
    """Become the keeper of a backend, or stay it, for `life_s` seconds: its wishes; None when another worker is it."""
    keys = [store_keeper(queue), store_wishes(queue)]
    words = await scripts.run(redis, scripts.STORE_KEEP, keys, worker_id, int(life_s * 1000))
    return None if words is None else _decoded_wishes(words)


async def leave(redis: Redis, queue: str, worker_id: str) -> None:
    """Be its keeper no more, so that another worker need not wait."""
    await scripts.run(redis, scripts.STORE_KEEP, [store_keeper(queue), store_wishes(queue)], worker_id, 0)


async def note(redis: Redis, queue: str, wish: Wish) -> bool:
    """Write how far a wish is; whether it still stands, or a newer one for its model has come."""
    wish = msgspec.structs.replace(wish, changed_ms=int(time.time() * 1000))
    arguments = (wish.field, wish.id, msgspec.json.encode(wish), WISHES_LIFE_MS)
    return bool(await scripts.run(redis, scripts.STORE_NOTE, [store_wishes(queue)], *arguments))


async def forget(redis: Redis, queue: str, wish: Wish) -> None:
    """Drop a settled wish."""
    await scripts.run(redis, scripts.STORE_NOTE, [store_wishes(queue)], wish.field, wish.id, b"", WISHES_LIFE_MS)


async def publish(redis: Redis, queue: str, state: StoreState, life_s: float) -> None:
    """Say what a server has; it holds for `life_s` seconds."""
    await redis.set(store_state(queue), msgspec.json.encode(state), px=int(life_s * 1000))


def _decoded_state(words: bytes | None) -> StoreState | None:
    """None too for words of another version: its keeper says it again."""
    try:
        return None if words is None else _state_decoder.decode(words)
    except msgspec.MsgspecError:
        return None


def _decoded_wishes(words: Sequence[bytes]) -> list[Wish]:
    """Without those of another version, which expire."""
    wishes = []
    for word in words:
        try:
            wishes.append(_wish_decoder.decode(word))
        except msgspec.MsgspecError:
            continue
    return wishes
