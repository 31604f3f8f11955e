"""Names in Redis are made in one place, and documented."""

from __future__ import annotations

import inspect
import re

from shared.redis import names
from tests.redis_names import documented, row_of
from tests.unit.house.tree import PRODUCT, files, relative

QUEUE = "arq:queue:local:gpu:11434"
SAMPLES = {
    "api_id": "ab" * 16,
    "worker_id": "cd" * 16,
    "key_id": "7",
    "owner": "internal",
    "minute": 29_000_000,
    "job_id": "ab" * 16 + "-1",
    "queue": QUEUE,
    "month": "2026-11",
    "account": "env-GEMINI_API_KEY",
    "model": "gemini-3.8-flash",
    "scope": "project",
    "day": "2026-11-26",
    "tier": "local",
    "backend": "gpu:11434",
    "name": "one@example.com",
    "call_id": "call_1",
    "call": "ef" * 32,
    "request_id": "ab" * 16,
    "session_id": "12" * 16,
    "conversation_id": "14" * 16,
    "address": "192.0.2.1",
    "form_id": "15" * 16,
    "asker": "13" * 16,
    "priority": 1,
}
NOT_KEYS = {
    "relay_channel",
    "control_channel",
    "wake_channel",
    "owner_of",
    "backend_of",
    "place_of_queue",
    "queue_of_place",
    "budget_key_at",
    "reservation_field",
}
"""Functions that name a channel, or build on another."""
CHANNELS = {"NEWS_CHANNEL", "BACKGROUND_API"}
"""Constants that name a channel, or are an id."""


def _made() -> set[str]:
    """Return a name of every kind that the module can make."""
    made: set[str] = set()
    for name, value in vars(names).items():
        if name.isupper() and isinstance(value, str) and name not in CHANNELS and not name.startswith("_"):
            made.add(value)
        elif inspect.isfunction(value) and value.__module__ == names.__name__ and name not in NOT_KEYS:
            result = value(**{parameter: SAMPLES[parameter] for parameter in inspect.signature(value).parameters})
            made.update([result] if isinstance(result, str) else result)
    return made


def test_every_name_is_documented() -> None:
    """Each that the module can make has a row in docs/redis.md."""
    assert [name for name in sorted(_made()) if row_of(name) is None] == []


def test_every_row_is_of_a_name_that_is_made() -> None:
    """Nothing that is gone stays in the table. arq names its own counters."""
    made = {row_of(name) for name in _made()}
    assert {row.form for row in documented() if row not in made} == {"<queue>:health-check"}


def test_no_other_module_makes_a_name() -> None:
    """Python has them from `names.py`, Lua by the functions that stand for them."""
    quoted = re.compile(r"""["'](?:claw|arq):(?!\*)[a-z-]+[:"']""")
    makers = {
        relative(path)
        for path in files(*PRODUCT, suffixes=(".py", ".lua"))
        if relative(path) != "shared/redis/names.py" and quoted.search(path.read_text())
    }
    assert makers == set()
