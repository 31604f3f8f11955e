"""The Lua scripts that make our steps in Redis atomic; each says its keys and arguments itself.

A script is asked for by its digest, and sent whole where the server does not know it (any more). To redis-py's own
pipelines it is always given whole; `shared/redis/pipe.py` sends the digest in its place.
"""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import NoScriptError

from shared.redis.names import LUA_NAMES
from shared.redis.transfer import transfer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from redis.asyncio import Redis
    from redis.asyncio.client import Pipeline

_FOLDER = Path(__file__).parent / "lua"


def _script(*names: str) -> str:
    """Return the text of a script, after the names it uses and the scripts it builds on, without comments."""
    lines = (line for name in names for line in (_FOLDER / f"{name}.lua").read_text().splitlines())
    text = "\n".join(line for line in lines if not line.startswith("--"))
    used = (
        f"local function {function}(name) return '{start}' .. name end"
        for function, start in LUA_NAMES.items()
        if function + "(" in text
    )
    return "\n".join((*used, text))


ACCOUNT_FAIL: Final = _script("account_fail")
ACCOUNT_RESERVE: Final = _script("account_reserve")
ACCOUNT_SETTLE: Final = _script("account_settle")
ADMIT: Final = _script("wake", "bytes", "tokens", "place", "admit")
BACKGROUND_APPEND: Final = _script("background_append")
BACKGROUND_KEEP: Final = _script("background_keep")
BACKGROUND_OPEN: Final = _script("background_open")
CONVERSATION_FREE: Final = _script("conversation_lock", "conversation_free")
CONVERSATION_TAKE: Final = _script("conversation_take")
COUNT_ROW: Final = _script("count_row")
CLAIM: Final = _script("bytes", "claim")
ENQUEUE: Final = _script("wake", "bytes", "place", "enqueue")
FINISH: Final = _script("tokens", "finish")
# As a function: finish.lua returns at its end, and what stands behind it goes on.
FINISH_TURN: Final = f"local function finish()\n{FINISH}\nend\n{_script('session_free', 'turn')}"
FINISH_RESPONSE: Final = f"local function finish()\n{FINISH}\nend\n{_script('conversation_lock', 'response')}"
KEY_CHANGED: Final = _script("key_changed")
PASS_ON: Final = _script("wake", "pass_on")
PROBE: Final = _script("probe")
REJECT_LARGE: Final = _script("reject_large")
RENEW: Final = _script("renew")
OPERATION_ASK: Final = _script("operation_ask")
OPERATIONS_LEAD: Final = _script("operations_lead")
OPERATION_NOTE: Final = _script("operation_note")
RESPONSE_STORED: Final = _script("response_stored")
SESSION_RELEASE: Final = _script("session_free", "session_release")
SESSION_RENEW: Final = _script("session_renew")
SESSION_TAKE: Final = _script("session_take")
SESSION_TURNS: Final = _script("session_turns")
STORE_BODY: Final = _script("wake", "store_body")
SEED_BUDGET: Final = _script("seed_budget")
WITHDRAW: Final = _script("bytes", "withdraw")


_digests: dict[str, str] = {}


def digest_of(script: str) -> str:
    """Return the name that Redis knows a script by."""
    digest = _digests.get(script)
    if digest is None:
        digest = _digests[script] = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
    return digest


_LARGE: Final = frozenset((CLAIM, SESSION_TURNS, STORE_BODY))
_LONG: Final = frozenset(name for script in _LARGE for name in (script, digest_of(script)))


def may_be_long(script: str) -> bool:
    """Return whether a script, or the one of this digest, takes a large body, or may answer with bodies or messages."""
    return script in _LONG


async def run(redis: Redis, script: str, keys: Sequence[str], *arguments: str | bytes | int) -> Any:
    """Run a script and return what it returns.

    Raises:
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    execute: Callable[..., Awaitable[Any]] = redis.execute_command
    if script in _LARGE:
        execute = partial(transfer, redis)
    try:
        return await execute("EVALSHA", digest_of(script), len(keys), *keys, *arguments)
    # It restarted, failed over, or never had it: sent whole, it knows it from now on.
    except NoScriptError:
        return await execute("EVAL", script, len(keys), *keys, *arguments)


def add(pipeline: Pipeline, script: str, keys: Sequence[str], *arguments: str | bytes | int) -> None:
    """Add a script to a pipeline."""
    pipeline.execute_command("EVAL", script, len(keys), *keys, *arguments)
