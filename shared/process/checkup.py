"""The question that a doctor asks live workers through Redis: what do your upstreams say to your credentials?

Only workers have credentials, so only they can find out. Each answers in a list that is the asker's, for a minute.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final

import msgspec

from shared.redis.names import WORKERS, check_key, control_channel, worker_key
from shared.relay import ID_SIZE, KEY_SIZE, Signal, encode_signal
from shared.types import Announcement, Tier

if TYPE_CHECKING:
    from redis.asyncio import Redis

ANSWER_S: Final = 20.0
"""Time that an asker waits: longer than a worker may ask its upstreams."""
POLL_S: Final = 0.1


class AccountCheck(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer of an upstream to a question for its models with a credential, which is not in here.

    Attributes:
        backend: the upstream.
        account: its name for people.
        models: how many it lists.
        error: why it lists none; empty where it does.
        is_refused: whether it is the credential that it refuses.
    """

    backend: str
    account: str
    models: int = 0
    error: str = ""
    is_refused: bool = False


class WorkerCheck(msgspec.Struct, frozen=True):
    """A worker's answer: what it is, where, what its clock said when it was asked (ms since 1970), and its accounts."""

    worker: str
    tier: Tier
    machine: str
    now_ms: int
    accounts: tuple[AccountCheck, ...]


class Answers(msgspec.Struct, frozen=True):
    """The answers to a question.

    Attributes:
        announced: the live workers.
        answers: of those that answered.
        asked_ms: when they were asked, by the clock of Redis, in ms since 1970.
    """

    announced: tuple[Announcement, ...]
    answers: tuple[WorkerCheck, ...]
    sent_ms: int


async def ask_workers(redis: Redis, timeout_s: float = ANSWER_S) -> Answers:
    """Ask every live worker, and wait for all answers, `timeout_s` seconds at the most.

    Raises:
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    names = [member.decode() for member in await redis.smembers(WORKERS)]  # type: ignore[misc]  # redis-py: or awaitable
    payloads = await redis.mget([worker_key(name) for name in names]) if names else []
    announced = tuple(found for payload in payloads if (found := _announcement(payload)) is not None)
    asker = os.urandom(ID_SIZE)
    # Right before the question: workers answer with what their clocks say then.
    seconds, microseconds = await redis.time()
    question = asker + encode_signal(bytes(KEY_SIZE), Signal.CHECK, 0)
    for worker in announced:
        await redis.publish(control_channel(bytes.fromhex(worker.worker_id)), question)
    key = check_key(asker.hex())
    clock = asyncio.get_running_loop().time
    deadline = clock() + timeout_s
    raw: list[bytes] = []
    while len(raw) < len(announced) and clock() < deadline:
        await asyncio.sleep(POLL_S)
        raw = await redis.lrange(key, 0, -1)  # type: ignore[misc]  # redis-py: or awaitable
    await redis.delete(key)
    answers = tuple(msgspec.json.decode(each, type=WorkerCheck) for each in raw)
    return Answers(announced, answers, seconds * 1000 + microseconds // 1000)


def _announcement(payload: bytes | None) -> Announcement | None:
    try:
        return None if payload is None else msgspec.json.decode(payload, type=Announcement)
    except msgspec.MsgspecError:
        return None  # of another version
