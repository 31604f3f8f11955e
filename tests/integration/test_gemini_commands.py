"""`nself claw gemini` against a running management API."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from shared.catalogue import Quota
from shared.errors import Throttled
from shared.gemini_accounts import GeminiAccountStore, KnownAccount, say_known
from shared.keyspace import GEMINI_SEAL
from shared.sealing import Opener
from shared.settings import Settings
from tests.integration.gateway_stub import management_app, served
from workers.account_ledger import AccountLedger, Candidate
from workers.account_outcome import Blame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from redis.asyncio import Redis

    from shared.database import Database

OPENER = Opener("a passphrase")


@pytest.fixture
async def url(database: Database, redis: Redis, tmp_path: Path) -> AsyncIterator[str]:
    """The gateway's address."""
    await redis.set(GEMINI_SEAL, OPENER.public_key.hex())
    async with served(management_app(Settings(data_dir=tmp_path, internal_secret="geheim"), database, redis)) as url:
        yield url


@pytest.fixture(autouse=True)
def environment(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What tells the command where the gateway is and what the secret."""
    monkeypatch.setenv("NSELF_AI_URL", url)
    monkeypatch.setenv("NSELF_CLAW_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("PLUGIN_INTERNAL_SECRET", "geheim")
    monkeypatch.setenv("CLAW_DATA_DIR", str(tmp_path))


async def gemini(*arguments: str, typed: str | None = None) -> Result:
    """Run the command in a thread, as the gateway runs in ours."""
    return await asyncio.to_thread(CliRunner().invoke, main, ("claw", "gemini", *arguments), input=typed)


@pytest.mark.parametrize(
    ("options", "typed"), [(("--key", "AIza-secret"), None), ((), "AIza-secret\n"), ((), "AIza-secret")]
)
async def test_a_key_is_given_or_piped_in_and_never_shown(
    database: Database, options: tuple[str, ...], typed: str | None
) -> None:
    """It arrives sealed, with its limits."""
    limits = ("--project", "p", "--rpm", "3", "--tpm", "4", "--rpd", "5")
    made = await gemini("add", "one@example.com", *options, *limits, typed=typed)
    assert (made.exit_code, "is added" in made.output, "AIza" in made.output) == (0, True, False)
    ((row, sealed),) = await GeminiAccountStore(database).credentials()
    assert OPENER.open(sealed) == "AIza-secret"
    assert (row.project, row.requests_per_minute, row.prompt_tokens_per_minute, row.requests_per_day) == ("p", 3, 4, 5)


async def test_list_and_remove() -> None:
    """One line an account; removing twice is no error, as scripts send every command twice."""
    assert "No Gemini accounts" in (await gemini("list")).output
    made = json.loads((await gemini("add", "one@example.com", "--key", "k", "--json")).output)
    head, row = (await gemini("list")).output.splitlines()
    assert head.split()[:5] == ["Account", "Source", "Project", "Enabled", "State"]
    assert row.split() == ["one@example.com", "stored", "-", "yes", "ok", "0", "0", made["id"]]
    assert json.loads((await gemini("list", "--json")).output)[0]["id"] == made["id"]
    for _ in range(2):
        assert (await gemini("remove", "one@example.com")).exit_code == 0
    assert "No Gemini accounts" in (await gemini("status")).output


async def test_status_shows_quotas_and_what_is_wrong(redis: Redis) -> None:
    """A line for each account and model: used of the limit, state, and when it resets."""
    for name in ("one@example.com", "two@example.com"):
        await gemini("add", name, "--key", "k", "--rpm", "3")
    accounts = json.loads((await gemini("list", "--json")).output)
    one = accounts[0]["id"]
    known = KnownAccount(id=one, account_email="one@example.com", source="stored", scope="key:s", fingerprint="s")
    await say_known(redis, [known])
    ledger = AccountLedger(redis, "q", probe_s=60, is_counted=True)
    candidate = Candidate(one, "key:s", "s", Quota(requests_per_minute=3))
    await ledger.reserve("take", "gemini-x", 7, [candidate])
    await ledger.fail(Blame("throttled", "minute", 30_000), "", "gemini-x", candidate, Throttled("At its limit."))
    shown = await gemini("status")
    head, first, second = shown.stdout.splitlines()
    assert head.split()[:3] == ["Account", "Model", "State"]
    assert first.split()[:6] == ["one@example.com", "gemini-x", "cooling", "1/3", "7/250000", "1/250"]
    assert all(stamp.endswith("Z") for stamp in first.split()[6:8])
    assert second.split() == ["two@example.com", "-", "ok", "-", "-", "-", "-", "-"]
    assert shown.stderr == "one@example.com: cooling: At its limit.\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "a b", "--key", "k"), "400: "),
        (("add", "one@example.com"), "No API key"),
        (("remove", "nobody@example.com"), "404: There is no account"),
        (("remove", "GEMINI_API_KEY"), "409: "),
        (("remove", "a/../b"), "404"),
    ],
)
async def test_failures_are_one_line_on_stderr(arguments: tuple[str, ...], said: str) -> None:
    """Exit code 1, nothing on stdout."""
    result = await gemini(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
