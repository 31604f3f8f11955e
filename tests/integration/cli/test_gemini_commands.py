"""`nself claw gemini` against a running management API."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from shared.errors import Throttled
from shared.models.catalogue import Quota
from shared.postgres.gemini_accounts import GeminiAccountStore, KnownAccount, publish_known
from shared.redis.names import GEMINI_SEAL
from shared.sealing import Opener, fingerprint
from shared.settings import Settings
from tests.clock import quota_day_lasts
from tests.integration.api.manage.gateway_stub import management_app, served
from workers.accounts.outcome import FailureClass
from workers.accounts.state import AccountCandidate, AccountStateStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from redis.asyncio import Redis

    from shared.postgres.database import Database

OPENER = Opener("a passphrase")


@pytest.fixture
async def url(database: Database, redis: Redis, tmp_path: Path) -> AsyncIterator[str]:
    """Yield the gateway's address."""
    await redis.set(GEMINI_SEAL, OPENER.public_key.hex())
    async with served(management_app(Settings(data_dir=tmp_path, internal_secret="geheim"), database, redis)) as url:
        yield url


@pytest.fixture(autouse=True)
def environment(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set what tells the command where the gateway is and what the secret."""
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
    assert row.split() == ["one@example.com", "stored", "-", "yes", "untried", "0", "0", made["id"]]
    assert json.loads((await gemini("list", "--json")).output)[0]["id"] == made["id"]
    for _ in range(2):
        assert (await gemini("remove", "one@example.com")).exit_code == 0
    assert "No Gemini accounts" in (await gemini("status")).output


async def test_status_shows_quotas_and_what_is_wrong(redis: Redis) -> None:
    """A line for each account and model: used of the limit, state, and when it resets."""
    await quota_day_lasts()
    for name in ("one@example.com", "two@example.com"):
        await gemini("add", name, "--key", "k", "--rpm", "3")
    accounts = json.loads((await gemini("list", "--json")).output)
    one = accounts[0]["id"]
    known = KnownAccount(id=one, account_email="one@example.com", source="stored", scope="key:s", fingerprint="s")
    await publish_known(redis, [known])
    store = AccountStateStore(redis, "q", probe_s=60, is_counted=True)
    candidate = AccountCandidate(one, "key:s", "s", Quota(requests_per_minute=3))
    await store.reserve("take", "gemini-x", 7, [candidate])
    await store.fail(FailureClass("throttled", "minute", 30_000), "", "gemini-x", candidate, Throttled("At its limit."))
    shown = await gemini("status")
    head, first, second = shown.stdout.splitlines()
    assert head.split()[:3] == ["Account", "Model", "State"]
    assert first.split()[:6] == ["one@example.com", "gemini-x", "cooling", "1/3", "7/250000", "1/20"]
    assert all(stamp.endswith("Z") for stamp in first.split()[6:8])
    assert second.split() == ["two@example.com", "-", "untried", "-", "-", "-", "-", "-"]
    assert shown.stderr == "one@example.com: cooling: At its limit.\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "one@example.com"), "No API key"),
        (("remove", "nobody@example.com"), "404: There is no account"),
        (("remove", "GEMINI_API_KEY"), "409: "),
        (("remove", "a/../b"), "404"),
        (("update", "nobody@example.com", "--rpm", "3"), "404: There is no account"),
        (("update", "env-gemini_api_key", "--rpm", "3"), "409: This account comes from the environment: change G"),
        (("update", "nobody@example.com", "--key", "-"), "No API key"),
        (("update", "nobody@example.com"), "Nothing to change"),
    ],
)
async def test_failures_are_one_line_on_stderr(arguments: tuple[str, ...], said: str) -> None:
    """Nothing on stdout; exit code 2 where it cannot be meant, whoever says so, else 1."""
    result = await gemini(*arguments)
    is_meaningless = said.startswith(("400", "Nothing", "not the id", "No API key"))
    assert (result.exit_code, result.stdout) == (2 if is_meaningless else 1, "")
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", ""), "visible characters"),
        (("add", " \N{ZERO WIDTH SPACE}"), "visible characters"),
        (("add", "x" * 201), "at most 200"),
        (("add", "a b"), "no spaces"),
        (("add", "a/b"), "slashes"),
        (("add", "one@example.com", "--rpm", "0"), "--rpm"),
        (("update", "one@example.com", "--rpm", "0"), "1 to 2147483647 nor none"),
        (("update", "one@example.com", "--rpd", "many"), "1 to 2147483647 nor none"),
        (("update", "one@example.com", "--enable", "--disable"), "exclude each other"),
    ],
)
async def test_what_cannot_be_meant_is_refused_before_anything_is_sent(arguments: tuple[str, ...], said: str) -> None:
    """Exit code 2, in the command's own words."""
    result = await gemini(*arguments, typed="key")
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in " ".join(result.stderr.split())


async def test_an_account_is_changed_field_by_field(database: Database) -> None:
    """Its key too, asked for or given; `none` takes a project or limit away; a name's capitals do not matter."""
    await gemini("add", "One@example.com", "--key", "k", "--project", "p", "--rpm", "3", "--rpd", "9")
    shown = await gemini("update", "one@EXAMPLE.com", "--rpm", "5", "--tpm", "7", "--disable")
    assert [line.split()[1:] for line in shown.output.splitlines()][1:] == [
        ["p"], ["no"], ["5"], ["7"], ["9"],
    ]  # fmt: skip
    shown = await gemini("update", "one@example.com", "--project", "none", "--rpd", "none", "--enable")
    assert shown.output.splitlines()[1:] == [
        "Project: its key is one of its own", "Enabled: yes", "RPM:     5", "TPM:     7",
        "RPD:     as usual for the model",
    ]  # fmt: skip
    for options, typed, key in ((("--key", "AIza-2"), None, "AIza-2"), (("--key", "-"), "AIza-3\n", "AIza-3")):
        changed = await gemini("update", "one@example.com", *options, "--json", typed=typed)
        assert json.loads(changed.output)["same_key_as"] == []
        ((_, sealed),) = await GeminiAccountStore(database).credentials()
        assert OPENER.open(sealed) == key
    assert (await gemini("remove", "ONE@example.com")).exit_code == 0
    assert "No Gemini accounts" in (await gemini("list")).output


async def test_a_name_that_is_taken_leads_to_the_command_that_changes_it() -> None:
    """One line, exit code 1."""
    await gemini("add", "one@example.com", "--key", "k")
    taken = await gemini("add", "one@example.com", "--key", "k")
    assert (taken.exit_code, "nself claw gemini update" in taken.stderr) == (1, True)


async def test_a_key_that_another_account_has_is_no_project_of_its_own(redis: Redis) -> None:
    """Which is said instead, when it is added and when an account gets it."""
    alone = await gemini("add", "one@example.com", "--key", "k")
    assert "counts as a project of its own" in alone.output
    one = json.loads((await gemini("list", "--json")).output)[0]["id"]
    word = KnownAccount(id=one, account_email="one@example.com", source="stored", fingerprint=fingerprint("k"))
    await publish_known(redis, [word])
    twin = await gemini("add", "two@example.com", "--key", "k")
    assert "Its key is that of one@example.com too" in twin.output
    assert "of its own" not in twin.output
    assert "adds no quota" in (await gemini("update", "two@example.com", "--key", "k")).output
    assert "adds no quota" not in (await gemini("update", "one@example.com", "--key", "k")).output
    await gemini("remove", "one@example.com")
    assert "counts as a project of its own" in (await gemini("add", "three@example.com", "--key", "k")).output
