"""Many idle workers and many backends: a job costs Valkey as many commands as it does with one of them.

Workers and api are here what they do in Redis, so that nothing else is counted; `test_many_processes.py` has real ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.redis.names import running_key, wake_channel
from shared.redis.subscription import subscription
from tests.attack.meters import cost_so_far
from tests.integration.shared.queue.sample_jobs import at, claim, claim_as, put
from tests.integration.shared.queue.test_waking import MANY, Look, admitted, backends, woken, worker_ids

if TYPE_CHECKING:
    from redis.asyncio import Redis

MOST_MORE = 1.3
"""What a job may cost Valkey more with many than with one."""


async def test_a_job_costs_the_same_with_many_idle_workers(redis: Redis) -> None:
    """One is woken, one claims: with all of them woken it would be fifty claims."""
    costs = []
    for number in (1, MANY):
        names = worker_ids(number)
        async with subscription(redis, *map(wake_channel, names)) as listener:
            for name in names:
                await claim_as(redis, name, "q")
            await redis.config_resetstat()
            for _ in range(10):
                await put(redis, at("q"))
                assert len(await claim_as(redis, await woken(listener, "q"), "q", 2)) == 1
            costs.append((await cost_so_far(redis)).commands)
    assert costs[1] <= MOST_MORE * costs[0]


async def test_an_admission_costs_the_same_with_many_backends(redis: Redis) -> None:
    """A handful is asked, with its job claimed and ended as well it is not more than a third above one."""
    costs = []
    for number in (1, MANY):
        await redis.config_resetstat()
        for _ in range(10):
            queue = await admitted(redis, Look(), backends(number))
            (job,) = await claim(redis, queue)
            pipeline = redis.pipeline(transaction=False)
            pipeline.zrem(running_key(queue), f"{job['request_id']}-1")
            for _ in range(8):  # frames, acknowledgements and the record of the shortest request
                pipeline.publish("nobody", b"")
            await pipeline.execute()
        costs.append((await cost_so_far(redis)).commands)
    assert costs[1] <= MOST_MORE * costs[0]
