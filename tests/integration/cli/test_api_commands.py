"""`nself claw api` against a running management API."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Protocol

import pytest
from click.testing import CliRunner, Result

from cli.api_commands import api_group
from cli.main import main
from shared.ids import new_request_id
from shared.postgres.keys import KeyStore
from shared.settings import Settings
from shared.usage import UsageRecord
from tests.clock import day_lasts
from tests.integration.api.manage.gateway_stub import management_app, served
from workers.recording.rows import from_record
from workers.recording.table import UsageLog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from redis.asyncio import Redis

    from shared.postgres.database import Database
    from tests.upstreams.numbered import NumberedUpstream


class Nself(Protocol):
    """Runs `nself claw api ...`."""

    async def __call__(self, *arguments: str) -> Result:
        """Return the command's result."""


@pytest.fixture
async def url(database: Database, redis: Redis, tmp_path: Path) -> AsyncIterator[str]:
    """Yield the gateway's address."""
    async with served(management_app(Settings(data_dir=tmp_path, internal_secret="geheim"), database, redis)) as url:
        yield url


@pytest.fixture
def nself(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Nself:
    """Return the command, told by the environment where the gateway is and what the secret."""
    monkeypatch.setenv("NSELF_CLAW_URL", url)
    monkeypatch.setenv("PLUGIN_INTERNAL_SECRET", "geheim")
    monkeypatch.setenv("CLAW_DATA_DIR", str(tmp_path))
    return run


async def run(*arguments: str) -> Result:
    """Run the command in a thread, as the gateway runs in ours."""
    return await asyncio.to_thread(CliRunner().invoke, api_group, arguments)


async def test_create_list_revoke(nself: Nself) -> None:
    """The life of a key, as a person sees it."""
    made = await nself("keys", "create", "--name", "admin tool", "--admin", "--rpm", "120")
    assert made.exit_code == 0
    assert "sk-nself-" in made.output
    assert "will not be shown again" in made.output
    listed = await nself("keys", "list")
    head, row = listed.output.splitlines()
    assert re.split(r"\s{2,}", head) == ["ID", "Name", "RPM", "Admin", "Created", "Prefix", "Last used"]
    prefix = re.search(r"sk-nself-.{6}", made.output)
    assert prefix is not None
    assert row.split()[-2:] == [prefix[0], "-"]
    key_id = row.split()[0]
    assert len(key_id) == 36
    assert row.split()[1:5] == ["admin", "tool", "120", "yes"]
    for _ in range(2):
        assert (await nself("keys", "revoke", key_id)).exit_code == 0
    assert "No keys" in (await nself("keys", "list")).output
    assert (await nself("keys", "list", "--all")).output.splitlines()[1].split()[-1] == "no"


async def test_json_is_what_the_api_said(nself: Nself) -> None:
    """On every command."""
    made = json.loads((await nself("keys", "create", "--name", "myapp", "--json")).stdout)
    assert made["rpm_limit"] == 60
    listed = json.loads((await nself("keys", "list", "--json")).stdout)
    assert [key["id"] for key in listed["keys"]] == [made["id"]]
    assert json.loads((await nself("usage", "--json")).stdout)["usage"] == []
    tested = json.loads((await nself("test", "--key", made["key"], "--json")).stdout)
    assert (tested["model_count"], tested["models"]) == (2, ["auto", "smollm2"])
    assert json.loads((await nself("keys", "revoke", made["id"], "--json")).stdout)["revoked"] is True


async def test_a_key_to_test_need_not_stand_in_the_command_line(nself: Nself, monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard input or NSELF_CLAW_KEY give it; a wrong one there is refused, so it is what was used."""
    key = json.loads((await nself("keys", "create", "--name", "a", "--json")).stdout)["key"]
    for given, code in ((key, 0), ("sk-nself-wrong", 1)):
        piped = await asyncio.to_thread(CliRunner().invoke, api_group, ["test", "--key", "-"], input=f"{given}\n")
        assert piped.exit_code == code
        monkeypatch.setenv("NSELF_CLAW_KEY", given)
        assert (await nself("test")).exit_code == code


async def test_a_key_can_be_changed(nself: Nself) -> None:
    """Its name, its limits, and its budget that then has a column of its own."""
    key_id = json.loads((await nself("keys", "create", "--name", "a", "--json")).stdout)["id"]
    shown = await nself("keys", "update", key_id, "--rpm", "5", "--budget", "2.5", "--admin", "--name", "b")
    assert [line.split()[1:] for line in shown.output.splitlines()] == [
        [key_id], ["b"], ["5"], ["yes"], ["$2.50", "a", "month"]
    ]  # fmt: skip
    head, row = (await nself("keys", "list")).output.splitlines()
    assert re.split(r"\s{2,}", head) == ["ID", "Name", "RPM", "Admin", "Created", "Prefix", "Last used", "Budget"]
    assert row.split()[1:4] + row.split()[7:] == ["b", "5", "yes", "$2.50"]
    freed = await nself("keys", "update", key_id, "--budget", "none")
    assert freed.output.splitlines()[-1] == "Budget: no budget"
    assert "Budget" not in (await nself("keys", "update", key_id, "--rpm", "5")).output
    changed = json.loads((await nself("keys", "update", key_id, "--budget", "none", "--no-admin", "--json")).stdout)
    assert (changed["monthly_budget_usd"], changed["admin_allowed"], changed["rpm_limit"]) == (None, False, 5)
    assert "Budget" not in (await nself("keys", "list", "--all")).output
    zero = json.loads((await nself("keys", "create", "--name", "c", "--budget", "$0", "--json")).stdout)
    assert zero["monthly_budget_usd"] == 0
    active = [row.split()[-2:] for row in (await nself("keys", "list", "--all")).output.splitlines()]
    assert active == [["Active", "Budget"], ["yes", "none"], ["yes", "$0.00"]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create", "--name", ""), "A name has visible characters"),
        (("create", "--name", " \N{ZERO WIDTH SPACE}"), "A name has visible characters"),
        (("create", "--name", "x" * 201), "at most 200"),
        (("update", "0", "--name", " "), "A name has visible characters"),
        (("update", "0", "--admin", "--no-admin"), "--admin and --no-admin exclude each other"),
    ],
)
async def test_what_cannot_be_meant_is_refused_before_anything_is_sent(
    nself: Nself, arguments: tuple[str, ...], said: str
) -> None:
    """Exit code 2, in the command's own words."""
    result = await nself("keys", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in " ".join(result.stderr.split())


@pytest.mark.parametrize("budget", ["nan", "inf", "-1", "1000001", "much", "", "$", "$-1", "5$"])
async def test_a_budget_is_a_sum_of_dollars(nself: Nself, budget: str) -> None:
    """What is none is refused before anything is sent."""
    result = await nself("keys", "create", "--name", "a", "--budget", budget)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "US dollars" in result.stderr
    assert "No keys" in (await nself("keys", "list")).output


async def test_the_budget_of_the_month_is_shown(nself: Nself, database: Database) -> None:
    """In all, and a line for each key that has a limit or spent something."""
    await day_lasts()
    key, _ = await KeyStore(database).create("myapp", monthly_budget_usd=20)
    await spend(database, key.id, 0.000025)
    await spend(database, None, 1.5)
    shown = (await nself("budget")).output.splitlines()
    assert [line.split()[0] for line in shown[:4]] == ["Month:", "Limit:", "Spent:", "Reserved:"]
    assert [line.split()[-1] for line in shown[1:4]] == ["none", "$1.500025", "$0.00"]
    assert shown[4].replace("Key ID", "Key").split() == ["Key", "Name", "Limit", "Spent", "Reserved"]
    assert [line.split() for line in shown[5:]] == [
        ["internal", "internal", "none", "$1.50", "$0.00"],
        [key.id, "myapp", "$20.00", "$0.000025", "$0.00"],
    ]
    assert json.loads((await nself("budget", "--json")).stdout)["spent_usd"] == 1.500025


async def spend(database: Database, key_id: str | None, cost_usd: float) -> None:
    """Put a paid request into the usage log."""
    record = UsageRecord(
        request_id=new_request_id(), key_id=key_id, endpoint="chat", requested_model="gpt-4o", tier="paid",
        cost_usd=cost_usd, admitted_ms=int(time.time() * 1000),
    )  # fmt: skip
    assert await UsageLog(database).write([from_record(record)]) == []


async def test_usage_lines_can_be_parsed(nself: Nself, database: Database) -> None:
    """One line a request, ids in full, failed ones too: who answered, what it cost, how it ended."""
    key, _ = await KeyStore(database).create("myapp")
    for status, tier, error in ((200, "paid", None), (502, "", "worker_lost")):
        record = UsageRecord(
            request_id=new_request_id(), key_id=key.id, endpoint="chat", requested_model="auto", model="m" * 100,
            status=status, prompt_tokens=7, completion_tokens=5, admitted_ms=int(time.time() * 1000) - status,
            tier=tier, error_code=error, cost_usd=0.000025 if tier else 0.0,
        )  # fmt: skip
        await UsageLog(database).write([from_record(record)])
    head, *rows = (await nself("usage", "--key", key.id)).output.splitlines()
    assert re.split(r"\s{2,}", head) == ["Key ID", "Prompt", "Compl", "Model", "Time", "Tier", "Cost", "Status"]
    assert [row.split()[:4] + row.split()[5:] for row in rows] == [
        [key.id, "7", "5", "m" * 100, "api_key", "$0.000025", "200"],
        [key.id, "7", "5", "m" * 100, "-", "$0.00", "502", "worker_lost"],
    ]
    assert len((await nself("usage", "--limit", "1")).output.splitlines()) == 2
    assert "No usage" in (await nself("usage", "--key", "internal")).output


async def test_calls_of_the_list_of_models_are_shown_on_demand(
    nself: Nself, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are no requests to a model, and take none of the places of these; JSON has all."""
    monkeypatch.setattr("cli.api_commands._SMALLEST_PAGE", 3)
    now_ms = int(time.time() * 1000)
    for age, endpoint in enumerate(("models", "models", "chat", "models", "models", "models", "models", "embeddings")):
        record = UsageRecord(
            request_id=new_request_id(), key_id=None, endpoint=endpoint, requested_model=f"asked-{age}",
            admitted_ms=now_ms - age,
        )  # fmt: skip
        await UsageLog(database).write([from_record(record)])

    async def models(*arguments: str) -> list[str]:
        return [row.split()[3] for row in (await nself("usage", *arguments)).output.splitlines()[1:]]

    assert await models() == ["asked-2", "asked-7"]
    assert await models("--limit", "1") == ["asked-2"]
    assert await models("--limit", "4", "--all") == [f"asked-{age}" for age in range(4)]
    assert len(json.loads((await nself("usage", "--json")).stdout)["usage"]) == 8


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
async def test_test_says_that_the_gateway_is_reachable(nself: Nself, url: str, suffix: str) -> None:
    """With the internal token, however the address is written."""
    result = await nself("test", "--url", url + suffix)
    assert (result.exit_code, result.output) == (0, "Gateway is reachable. 2 models available.\n")
    verbose = await nself("test", "--url", url + suffix, "--verbose")
    assert verbose.output.split()[-2:] == ["auto", "smollm2"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("test", "--key", "sk-nself-wrong"), "401: Incorrect API key"),
        (("test", "--url", "http://127.0.0.1:1"), "Connection refused. That is the address of --url."),
        (("test", "--url", "nonsense"), "cannot be reached"),
        (("keys", "revoke", "00000000-0000-0000-0000-000000000001"), "404: There is no key"),
        (("keys", "revoke", "xyz"), "not the id"),
        (("keys", "update", "00000000-0000-0000-0000-000000000001", "--rpm", "5"), "404: There is no active key"),
        (("keys", "update", "xyz", "--rpm", "5"), "not the id"),
        (("keys", "update", "00000000-0000-0000-0000-000000000001"), "Nothing to change"),
        (("usage", "--key", "abc"), "No key has the name or the id 'abc'"),
    ],
)
async def test_failures_are_one_line_on_stderr(nself: Nself, arguments: tuple[str, ...], said: str) -> None:
    """Nothing on stdout; exit code 2 where it cannot be meant, whoever says so, else 1."""
    result = await nself(*arguments)
    is_meaningless = said.startswith(("400", "Nothing", "not the id", "No API key"))
    assert (result.exit_code, result.stdout) == (2 if is_meaningless else 1, "")
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


async def test_a_missing_secret_is_reported_clearly(nself: Nself, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the variable's name and the place that was looked in."""
    monkeypatch.delenv("PLUGIN_INTERNAL_SECRET")
    result = await nself("keys", "list")
    assert result.exit_code == 1
    assert "PLUGIN_INTERNAL_SECRET" in result.stderr


async def test_the_secret_is_found_in_the_data_dir(
    nself: Nself, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where `nself claw up` puts it."""
    monkeypatch.delenv("PLUGIN_INTERNAL_SECRET")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "internal_secret").write_text("geheim\n")
    assert (await nself("keys", "list")).exit_code == 0


async def test_a_key_can_be_bounded(nself: Nself) -> None:
    """Models, tiers and an end, given and taken away; the list has columns for what any key has."""
    made = await nself(
        "keys",
        "create",
        "--name",
        "guest",
        "--model",
        "auto",
        "--model",
        "llama*",
        "--tier",
        "local",
        "--expires",
        "2h",
    )
    assert made.exit_code == 0, made.output
    assert "Models: auto, llama*" in made.output
    assert "Tiers:  local" in made.output
    assert re.search(r"Until:  20\d\d-\d\d-\d\dT", made.output)
    listed = json.loads((await nself("keys", "list", "--json")).output)["keys"][0]
    assert (listed["allowed_models"], listed["allowed_tiers"]) == (["auto", "llama*"], ["local"])
    assert "Models" in (await nself("keys", "list")).output

    taken = await nself(
        "keys", "update", listed["id"], "--model", "all", "--tier", "all", "--expires", "none", "--json"
    )
    changed = json.loads(taken.output)
    assert (changed["allowed_models"], changed["allowed_tiers"], changed["expires_at"]) == ([], [], None)
    assert "Models" not in (await nself("keys", "list")).output


async def test_a_key_has_a_limit_of_tokens(nself: Nself) -> None:
    """Given with it, changed, and taken away; what is no number of tokens is refused before anything is sent."""
    made = await nself("keys", "create", "--name", "guest", "--tpm", "5000")
    assert made.exit_code == 0, made.output
    assert "TPM:    5000" in made.output
    listed = json.loads((await nself("keys", "list", "--json")).output)["keys"][0]
    assert listed["tokens_per_minute"] == 5000
    assert "TPM" in (await nself("keys", "list")).output

    taken = await nself("keys", "update", listed["id"], "--tpm", "none", "--json")
    assert json.loads(taken.output)["tokens_per_minute"] is None
    assert "TPM" not in (await nself("keys", "list")).output
    for wrong in ("0", "-1", "many", "60000001"):
        assert (await nself("keys", "update", listed["id"], "--tpm", wrong)).exit_code == 2


async def test_a_key_gets_another_secret(nself: Nself) -> None:
    """Shown once, with what becomes of the one before; sent twice it is the same."""
    made = json.loads((await nself("keys", "create", "--name", "guest", "--json")).output)
    rotated = await nself("keys", "rotate", made["id"], "--grace", "2h")
    assert rotated.exit_code == 0, rotated.output
    assert "will not be shown again" in rotated.output
    assert re.search(r"works until 20\d\d-\d\d-\d\dT", rotated.output)
    assert made["key"] not in rotated.output
    again = json.loads((await nself("keys", "rotate", made["id"], "--grace", "120m", "--json")).output)
    assert again["key"] in rotated.output
    assert again["id"] == made["id"]
    at_once = await nself("keys", "rotate", made["id"], "--grace", "0")
    assert "is refused from now on" in at_once.output
    for wrong in ("31d", "soon", "-1", "5"):
        assert (await nself("keys", "rotate", made["id"], "--grace", wrong)).exit_code == 2
    assert (await nself("keys", "rotate", "7e57ab1e-0000-4000-8000-00000000000f")).exit_code == 1


async def test_a_key_is_exported_and_erased(nself: Nself, tmp_path: Path) -> None:
    """To a file of its owner's, or to standard output; erasing asks, where somebody can be asked."""
    made = json.loads((await nself("keys", "create", "--name", "Ada Lovelace", "--json")).output)
    file = tmp_path / "key.jsonl"
    written = await nself("keys", "export", made["id"], "--output", str(file))
    assert written.exit_code == 0, written.output
    assert "the key, 0 sessions, 0 messages, 0 responses, 0 conversations, 0 items, 0 usage." in written.output
    assert file.stat().st_mode & 0o777 == 0o600
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["type"] for line in lines] == ["key", "end"]
    assert (lines[0]["name"], made["key"] in file.read_text()) == ("Ada Lovelace", False)
    shown = await nself("keys", "export", made["id"])
    assert [json.loads(line) for line in shown.output.splitlines()] == lines

    asked = await nself("keys", "erase", made["id"])
    assert (asked.exit_code, "--yes" in asked.output) == (2, True)
    erased = await nself("keys", "erase", made["id"], "--yes")
    assert erased.exit_code == 0, erased.output
    assert "is erased: 0 sessions, 0 responses and 0 conversations deleted" in erased.output
    assert "Ada" not in (await nself("keys", "list", "--all", "--json")).output
    again = json.loads((await nself("keys", "erase", made["id"], "--yes", "--json")).output)
    assert again["erased"] is True

    unknown = "7e57ab1e-0000-4000-8000-00000000000f"
    for arguments in (("export", unknown, "--output", str(tmp_path / "none")), ("erase", unknown, "--yes")):
        missing = await nself("keys", *arguments)
        assert (missing.exit_code, "404" in missing.output) == (1, True)
    assert os.listdir(tmp_path) == [file.name]  # noqa: PTH208 -- a Path's own way is not for async functions
    nowhere = await nself("keys", "export", made["id"], "--output", str(tmp_path / "no" / "file"))
    assert (nowhere.exit_code, "cannot be written" in nowhere.output) == (1, True)


@pytest.mark.parametrize("when", ["soon", "2020-01-01", "0d", "99999999d"])
async def test_an_end_is_a_time_to_come(nself: Nself, when: str) -> None:
    """Refused before anything is sent."""
    refused = await nself("keys", "create", "--name", "guest", "--expires", when)

    assert refused.exit_code == 2
    assert when in refused.output


async def test_a_wrong_secret_says_where_it_is_from(
    nself: Nself, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of the shell, or of the data dir."""
    monkeypatch.setenv("PLUGIN_INTERNAL_SECRET", "wrong")
    result = await nself("keys", "list")
    assert (result.exit_code, "which is from PLUGIN_INTERNAL_SECRET of this shell" in result.stderr) == (1, True)
    monkeypatch.delenv("PLUGIN_INTERNAL_SECRET")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "internal_secret").write_text("wrong too")
    result = await nself("keys", "list")
    assert f"which is from {tmp_path}/secrets/internal_secret" in result.stderr


async def test_usage_is_found_by_the_name_of_a_key_and_by_the_id_of_a_request(nself: Nself, database: Database) -> None:
    """The id in any form; of one request everything is shown, its server's own words too."""
    key, _ = await KeyStore(database).create("myapp")
    request_id = new_request_id()
    record = UsageRecord(
        request_id=request_id, key_id=key.id, endpoint="chat", requested_model="auto", model="m", status=502,
        admitted_ms=int(time.time() * 1000), error_code="upstream_unavailable", error_reason="CUDA out of memory",
    )  # fmt: skip
    await UsageLog(database).write([from_record(record)])
    assert json.loads((await nself("usage", "--key", "myapp", "--json")).stdout)["usage"][0]["key_id"] == key.id
    assert "CUDA out of memory" in (await nself("usage", "--wide")).output
    shown = (await nself("usage", "--request", f"req_{request_id}")).output
    assert re.search(r"^error_reason: +CUDA out of memory$", shown, re.MULTILINE)
    await KeyStore(database).create("myapp")
    twice = await nself("usage", "--key", "myapp")
    assert (twice.exit_code, key.id in twice.stderr) == (2, True)


async def test_a_model_server_is_told_from_a_gateway(upstream: NumberedUpstream, nself: Nself) -> None:
    """It has a list of models too, and asks for no key."""
    result = await nself("test", "--url", upstream.url)
    assert (result.exit_code, "as a model server does, not as the gateway" in result.stderr) == (1, True)


def test_it_says_its_version() -> None:
    """As `pip` knows it."""
    assert CliRunner().invoke(main, ["--version"]).output == f"nself claw gateway {version('nself-claw-gateway')}\n"


async def test_status_says_that_nothing_runs(nself: Nself, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an exit code for scripts."""
    del nself
    monkeypatch.setenv("NSELF_CLAW_URL", "http://127.0.0.1:1")
    result = await asyncio.to_thread(CliRunner().invoke, main, ["claw", "status"])
    assert result.exit_code == 1
    assert result.output.startswith("Gateway:  not running, at http://127.0.0.1:1\nData: ")
