"""Model operations of Ollama servers, exchanged by api and workers over Redis.

The api asks for a model to be installed or removed: it writes a `ModelOperation` into the hash of a backend. One of the
backend's workers, its leader, carries the operations out and writes there how far they are; those of a leader that dies
are taken over by the next, since they stay in the hash until they are settled. What the server has, the leader
publishes as a `LibraryState`.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from shared.redis import scripts
from shared.redis.names import backend_of, library_leader, library_operations, library_state

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

MOST_OPERATIONS: Final = 100
OPERATIONS_LIFE_MS: Final = 24 * 3600 * 1000
SETTLED_LIFE_S: Final = 3600.0
"""Time that the end of an operation is shown."""


class InstalledModel(msgspec.Struct, frozen=True):
    """A model on the disk of an Ollama server."""

    name: str
    size_bytes: int
    is_loaded: bool


class LibraryState(msgspec.Struct, frozen=True):
    """The models of an Ollama server. `free_ram_bytes` is that of the worker's machine, None where it is not known."""

    is_reachable: bool
    free_ram_bytes: int | None
    models: tuple[InstalledModel, ...]


class ModelOperation(msgspec.Struct, frozen=True, kw_only=True):
    """That a model be installed or removed, and how far that is. Times are milliseconds since 1970.

    `model` is a canonical name. `detail` is what Ollama says it is doing. `is_unknown` says of a failed removal that
    there is no such model; `may_be_absent` says that this is fine: it was removed or on its way when that was asked.
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
        """Return whether there is nothing left to do."""
        return self.state in {"done", "failed"}

    @property
    def field(self) -> str:
        """Return where it stands in the hash: Ollama ignores upper and lower case."""
        return self.model.casefold()


class Library(msgspec.Struct, frozen=True):
    """One backend's Ollama server as the api sees it; `state` is None until its leader has looked."""

    queue: str
    state: LibraryState | None
    operations: tuple[ModelOperation, ...]

    @property
    def host(self) -> str:
        """Return what the server is called: the backend's name, a host and a port."""
        return backend_of(self.queue)

    @property
    def is_reachable(self) -> bool:
        """Return whether it answered when its leader looked."""
        return self.state is not None and self.state.is_reachable


_operation_decoder: Final = msgspec.json.Decoder(ModelOperation)
_state_decoder: Final = msgspec.json.Decoder(LibraryState)


def new_operation(kind: Literal["install", "remove"], model: str, *, may_be_absent: bool = False) -> ModelOperation:
    """Return a new operation, asked for now."""
    identity = secrets.token_hex(16)
    return ModelOperation(
        id=identity, kind=kind, model=model, asked_ms=int(time.time() * 1000), may_be_absent=may_be_absent
    )


async def libraries(redis: Redis, queues: Sequence[str]) -> list[Library]:
    """Return the libraries of these backends.

    Raises:
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`); so do all that follow.
    """
    pipeline = redis.pipeline(transaction=False)
    for queue in queues:
        pipeline.get(library_state(queue))
        pipeline.hvals(library_operations(queue))
    answers = await pipeline.execute()
    return [
        Library(queue, _decoded_state(state), tuple(_decoded_operations(operations)))
        for queue, state, operations in zip(queues, answers[::2], answers[1::2], strict=True)
    ]


async def ask(redis: Redis, queue: str, operation: ModelOperation) -> ModelOperation | None:
    """Ask for an operation; return the one that stands, an older one of its kind if that is still to be done.

    None where there are too many.
    """
    arguments = (operation.field, msgspec.json.encode(operation), operation.kind, OPERATIONS_LIFE_MS, MOST_OPERATIONS)
    stands = await scripts.run(redis, scripts.OPERATION_ASK, [library_operations(queue)], *arguments)
    return None if stands is None else _operation_decoder.decode(stands)


async def operation_for(redis: Redis, queue: str, model: str) -> ModelOperation | None:
    """Return the last operation for a model, by its canonical name."""
    found = await redis.hget(library_operations(queue), model.casefold())  # type: ignore[misc]  # redis-py: or awaitable
    return next(iter(_decoded_operations([found] if found else [])), None)


async def lead(redis: Redis, queue: str, worker_id: str, life_s: float) -> list[ModelOperation] | None:
    """Become the leader of a backend, or stay it, for `life_s` seconds; return its operations.

    None where another worker is the leader.
    """
    keys = [library_leader(queue), library_operations(queue)]
    operations = await scripts.run(redis, scripts.OPERATIONS_LEAD, keys, worker_id, int(life_s * 1000))
    return None if operations is None else _decoded_operations(operations)


async def leave(redis: Redis, queue: str, worker_id: str) -> None:
    """Release the leadership, so that another worker need not wait."""
    # A life of 0 gives it up (operations_lead.lua).
    await scripts.run(redis, scripts.OPERATIONS_LEAD, [library_leader(queue), library_operations(queue)], worker_id, 0)


async def note(redis: Redis, queue: str, operation: ModelOperation) -> bool:
    """Write how far an operation is; return whether it still stands, or a newer one for its model has come."""
    operation = msgspec.structs.replace(operation, changed_ms=int(time.time() * 1000))
    arguments = (operation.field, operation.id, msgspec.json.encode(operation), OPERATIONS_LIFE_MS)
    return bool(await scripts.run(redis, scripts.OPERATION_NOTE, [library_operations(queue)], *arguments))


async def forget(redis: Redis, queue: str, operation: ModelOperation) -> None:
    """Drop a settled operation."""
    await scripts.run(
        redis,
        scripts.OPERATION_NOTE,
        [library_operations(queue)],
        operation.field,
        operation.id,
        b"",
        OPERATIONS_LIFE_MS,
    )


async def publish(redis: Redis, queue: str, state: LibraryState, life_s: float) -> None:
    """Publish what a server has; it holds for `life_s` seconds."""
    await redis.set(library_state(queue), msgspec.json.encode(state), px=int(life_s * 1000))


def _decoded_state(payload: bytes | None) -> LibraryState | None:
    """Decode a library's state; return None for one of another version too: its leader publishes it again."""
    try:
        return None if payload is None else _state_decoder.decode(payload)
    except msgspec.MsgspecError:
        return None


def _decoded_operations(payloads: Sequence[bytes]) -> list[ModelOperation]:
    """Decode the operations, without those of another version, which expire."""
    operations = []
    for payload in payloads:
        try:
            operations.append(_operation_decoder.decode(payload))
        except msgspec.MsgspecError:
            # Of a newer version while both run: that version's leader carries it out.
            continue
    return operations
