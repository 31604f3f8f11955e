"""How long an upstream may be silent between tokens, by a clock that leaps."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from shared.errors import ErrorInfo
from shared.relay import Kind
from shared.settings import load_settings
from shared.types import Delta, Event, Finish, Job, Usage
from workers.attempts.attempt import Attempt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

BOUND_S = 6
Step = float | list[Event]
"""A leap of the clock, or what the upstream says: nothing, as with a ping, is a batch too."""


class LeapingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock can be put forward."""

    leapt_s = 0.0

    def time(self) -> float:
        return super().time() + self.leapt_s


class Upstream:
    """A provider, its backend and only account, and what an attempt on it sends."""

    name = queue = "openai"
    models = ()

    def __init__(self, steps: list[Step]) -> None:
        self._steps = steps
        self.provider = self.accounts = self
        self.sent: list[tuple[Kind, bytes]] = []

    @asynccontextmanager
    async def lease(self, *_: Any, **__: Any) -> AsyncIterator[Upstream]:
        """Yield a lease, which is all the same thing here."""
        yield self

    @asynccontextmanager
    async def stream(self, *_: Any) -> AsyncIterator[AsyncIterator[Sequence[Event]]]:
        """Yield the steps."""
        yield self._batches()

    async def _batches(self) -> AsyncIterator[Sequence[Event]]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, LeapingLoop)
        for step in self._steps:
            if isinstance(step, float):
                loop.leapt_s += step
                for _ in range(3):  # what is due by then is done
                    await asyncio.sleep(0)
            else:
                yield step

    def push(self, kind: Kind, payload: bytes = b"", *_: Any, **__: Any) -> None:
        """Keep a frame."""
        self.sent.append((kind, payload))

    async def room(self) -> None:
        """There is."""

    async def pace(self) -> None:
        """Return at once."""

    def used(self, *_: Any) -> None:
        """Keep nothing."""

    began = end = used


async def last_frame(steps: list[Step]) -> tuple[Kind, bytes]:
    """Return how an attempt on an upstream that does these steps ends."""
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}).encode()
    job = Job(
        request_id="0" * 32, attempt=1, api_id="1" * 32, endpoint="chat", requested_model="m", stream=True,
        admitted_ms=0, expires_ms=0, patient_until_ms=10**15, tier="local", model="m", body=msgspec.Raw(body),
    )  # fmt: skip
    settings = load_settings(
        {
            "CLAW_DATA_DIR": "/nowhere",
            "CLAW_BETWEEN_TOKENS_TIMEOUT_S": str(BOUND_S),
            "CLAW_FIRST_TOKEN_TIMEOUT_S": str(2 * BOUND_S),
        }
    )
    upstream: Any = Upstream(steps)
    upstream.unsupported = SimpleNamespace(rejected=lambda _: ())
    await Attempt(job, upstream, upstream, settings).run()
    frame: tuple[Kind, bytes] = upstream.sent[-1]
    return frame


WORD: list[Event] = [Delta(content="a")]
END: list[Event] = [Finish("stop"), Usage(1, 2)]


@pytest.mark.parametrize(
    ("steps", "ends"),
    [
        ([WORD, 5.0, WORD, END], True),
        ([WORD, *([5.0, []] * 10), END], True),
        ([WORD, 7.0, WORD, END], False),
        ([WORD, 5.0, [], 7.0, END], False),
        ([[], 5.0, [], 5.0, [], 5.0, WORD, END], False),
    ],
    ids=["tokens", "pings for long", "silence", "silence after a ping", "pings before the first token"],
)
def test_any_bytes_extend_the_bound_between_tokens(steps: list[Step], ends: bool) -> None:  # noqa: FBT001 -- a case
    """Silence is not death as long as an upstream says that it lives; its first token has a bound of its own."""
    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        kind, payload = runner.run(last_frame(steps))
    if ends:
        assert kind is Kind.END
    else:
        assert kind is Kind.ERROR
        assert msgspec.json.decode(payload, type=ErrorInfo).status in {502, 504}
