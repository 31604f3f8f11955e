"""`nself claw routing` against a running management API."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from shared.settings import Settings
from tests.integration.api.manage.gateway_stub import management_app, served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from redis.asyncio import Redis

    from shared.postgres.database import Database


@pytest.fixture
async def url(database: Database, redis: Redis, tmp_path: Path) -> AsyncIterator[str]:
    """Yield the gateway's address."""
    async with served(management_app(Settings(data_dir=tmp_path, internal_secret="geheim"), database, redis)) as url:
        yield url


@pytest.fixture(autouse=True)
def environment(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set what tells the command where the gateway is and what the secret."""
    monkeypatch.setenv("NSELF_CLAW_URL", url)
    monkeypatch.setenv("PLUGIN_INTERNAL_SECRET", "geheim")
    monkeypatch.setenv("CLAW_DATA_DIR", str(tmp_path))


async def routing(*arguments: str) -> Result:
    """Run the command in a thread, as the gateway runs in ours."""
    return await asyncio.to_thread(CliRunner().invoke, main, ("claw", "routing", *arguments))


async def test_the_rules_are_shown_in_the_order_that_auto_tries_them() -> None:
    """Disabled ones last; set shows what it has become."""
    shown = await routing("show")
    assert shown.exit_code == 0
    assert [line.split() for line in shown.output.splitlines()[1:]] == [
        [task_class, tier, priority, "yes"]
        for task_class in ("chat", "embeddings")
        for tier, priority in (("local", "10"), ("free_gemini", "20"), ("api_key", "30"))
    ]
    await routing("set", "chat", "api_key", "--priority", "5")
    changed = await routing("set", "chat", "local", "--disable")
    assert (changed.exit_code, changed.output) == (0, (await routing("show")).output)
    assert [line.split() for line in changed.output.splitlines()[1:4]] == [
        ["chat", "api_key", "5", "yes"],
        ["chat", "free_gemini", "20", "yes"],
        ["chat", "local", "10", "no"],
    ]


async def test_json_is_what_the_api_said() -> None:
    """A bare array; the tiers' own names are taken too, and what is not named stays."""
    changed = json.loads((await routing("set", "embeddings", "paid", "--disable", "--priority", "0", "--json")).stdout)
    assert changed[-1] == {"task_class": "embeddings", "source_tier": "api_key", "priority": 0, "enabled": False}
    enabled = json.loads((await routing("set", "embeddings", "paid", "--enable", "--json")).stdout)
    assert enabled[-1] == {"task_class": "embeddings", "source_tier": "api_key", "priority": 0, "enabled": True}
    assert json.loads((await routing("show", "--json")).stdout) == enabled


async def test_another_server_can_have_the_ai_calls(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """NSELF_AI_URL goes before NSELF_CLAW_URL."""
    monkeypatch.setenv("NSELF_CLAW_URL", "http://127.0.0.1:1")
    assert (await routing("show")).exit_code == 1
    monkeypatch.setenv("NSELF_AI_URL", url)
    assert (await routing("show")).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("poems", "local", "--enable"),
            "400: task_class must be chat, embeddings, classify, extract, summarize, code, reason, translate or",
        ),
        (
            ("chat", "cloud", "--enable"),
            "400: source_tier must be local, free_gemini, api_key, gemini or paid, not 'cloud'",
        ),
        (("chat", "local"), "Nothing to change"),
    ],
)
async def test_failures_are_one_line_on_stderr(arguments: tuple[str, ...], said: str) -> None:
    """Nothing on stdout; exit code 2 where it cannot be meant, whoever says so, else 1."""
    result = await routing("set", *arguments)
    is_meaningless = said.startswith(("400", "Nothing", "not the id", "No API key"))
    assert (result.exit_code, result.stdout) == (2 if is_meaningless else 1, "")
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


async def test_opposites_exclude_each_other() -> None:
    """Neither wins: exit code 2, and the rules stay."""
    before = (await routing("show")).output
    for flags in (("--enable", "--disable"), ("--disable", "--enable")):
        result = await routing("set", "chat", "local", *flags)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "--enable and --disable exclude each other" in result.stderr
    assert (await routing("show")).output == before


async def test_the_last_tier_of_a_class_cannot_be_disabled() -> None:
    """And what was refused is as it was."""
    for tier in ("free_gemini", "api_key"):
        assert (await routing("set", "chat", tier, "--disable")).exit_code == 0
    refused = await routing("set", "chat", "local", "--disable")
    assert refused.exit_code == 2
    assert "The last tier of chat" in refused.stderr
    assert (await routing("show")).output.splitlines()[1].split() == ["chat", "local", "10", "yes"]
