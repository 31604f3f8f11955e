"""What the log says of accounts, once, however many attempts meet it."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from shared import errors
from shared.redis.names import account_key
from tests.integration.workers.accounts.sample_accounts import MODEL, account, counted, fail, lone, use

if TYPE_CHECKING:
    import pytest
    from redis.asyncio import Redis


async def test_a_backend_that_closes_says_so_once(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    """With its end; not each request that it refuses."""
    caplog.set_level(logging.INFO)
    accounts = counted(redis, account("a", requests_per_minute=1))
    await use(accounts)
    for _ in range(20):
        await fail(accounts, errors.InternalFault("must not be reached"))
    (line,) = caplog.messages
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(accounts.closed_ms()[MODEL] / 1000))
    assert line == f"arq:queue:gemini:gemini: no account can serve {MODEL} until {until}"


async def test_a_refused_credential_is_reported_once_while_it_is_cooling_down(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """However many attempts find it out at once, or are made in spite of it; a lone one has no others."""
    caplog.set_level(logging.INFO)
    refused = errors.Rejected("The model server refused the gateway's credential.")
    accounts = lone(redis)
    await asyncio.gather(*(fail(accounts, refused) for _ in range(5)))
    await fail(accounts, refused, is_last=True)
    (record,) = caplog.records
    assert (record.levelno, "others" in record.message) == (logging.ERROR, False)
    assert "account local:x@example.com (local:x)" in record.message
    caplog.clear()
    several = counted(redis, account("a"), account("b"))
    for _ in range(2):
        await fail(several, refused)
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.ERROR, logging.INFO]
    assert ["others" in message for message in caplog.messages] == [True, True, False]
    assert caplog.messages[2].startswith("arq:queue:gemini:gemini: no account can serve any model until")


async def test_a_refused_credential_is_reported_in_the_log_without_it(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """By the account's name; it stays out of use, with the time since when."""
    accounts = counted(redis, account("env-GEMINI_API_KEY"))
    await fail(accounts, errors.Rejected("The model server refused the gateway's credential."))
    assert "env-GEMINI_API_KEY" in caplog.text
    known = await redis.hgetall(account_key("env-GEMINI_API_KEY"))  # type: ignore[misc]  # redis-py: or awaitable
    assert int(known[b"since"]) <= time.time() * 1000 < int(known[b"until"])
    assert b"" in {name.encode() for name in accounts.closed_ms()}
