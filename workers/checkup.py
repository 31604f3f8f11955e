"""A worker's answer to a doctor: each upstream is asked for its models with its credential."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from shared.errors import GatewayError, Rejected
from shared.process.checkup import AccountCheck, WorkerCheck
from shared.process.tasks import spawn_critical
from shared.redis.client import UNREACHABLE
from shared.redis.names import backend_of, check_key
from shared.settings import host_name
from workers.reasons import reason_of

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from shared.types import Tier
    from workers.accounts.account import Account
    from workers.backends.backend import Backend

UPSTREAM_S: Final = 10.0
LIFE_S: Final = 60


class Checkup:
    """Answers doctors, one at a time.

    Args:
        redis: where the answers go.
        worker_id: this process, in hex digits.
        tier: what it is for.
        backends: its upstreams.
    """

    def __init__(self, redis: Redis, worker_id: str, tier: Tier, backends: list[Backend]) -> None:
        self._redis = redis
        self._worker_id = worker_id
        self._tier: Tier = tier
        self._backends = backends
        self._task: asyncio.Task[None] | None = None

    def begin(self, asker: bytes) -> None:
        """Answer a doctor by its 16 bytes, unless another is being answered: asking again and again costs little."""
        if self._task is None or self._task.done():
            self._task = spawn_critical(self._answer(asker.hex(), int(time.time() * 1000)), name="checkup")

    async def _answer(self, asker: str, now_ms: int) -> None:
        pairs = [(backend, account) for backend in self._backends for account in backend.accounts.all]
        checks = await asyncio.gather(*(_checked(backend, account) for backend, account in pairs))
        answer = WorkerCheck(self._worker_id, self._tier, host_name(), now_ms, tuple(checks))
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.rpush(check_key(asker), msgspec.json.encode(answer))
        pipeline.expire(check_key(asker), LIFE_S)
        # The asker sees that as well.
        with suppress(*UNREACHABLE):
            await pipeline.execute()


async def _checked(backend: Backend, account: Account) -> AccountCheck:
    """Ask for the models with an account's credential."""
    name, refused = backend_of(backend.queue), False
    try:
        async with asyncio.timeout(UPSTREAM_S):
            return AccountCheck(name, account.label, models=len(await account.provider.models()))
    except TimeoutError:
        text = f"It does not answer within {UPSTREAM_S:g} s."
    except GatewayError as error:
        reason, refused = reason_of(error), isinstance(error, Rejected)
        text = f"{error.message} It said: {reason}" if reason else error.message
    except Exception as error:  # noqa: BLE001 -- a defect of ours is an answer too
        text = f"The question failed: {type(error).__name__}"
    return AccountCheck(name, account.label, error=text, is_refused=refused)
