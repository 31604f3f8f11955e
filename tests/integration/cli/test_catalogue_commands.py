"""`nself claw models catalogue check` beside a gateway whose upstreams say what they have."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from cli.catalogue_commands import catalogue_group
from tests.fleet import INTERNAL_SECRET, Fleet, Process
from tests.upstreams.scripted import ScriptedUpstream, json_answer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Eventually

FILE = """\
[auto]
paid = ["gpt-ends"]
[models.gpt-ends]
prompt_usd = 1.0
checked = 2099-01-01
"""


async def check(*arguments: str) -> Result:
    """Run the command in a thread, as upstreams run in ours."""
    return await asyncio.to_thread(CliRunner().invoke, catalogue_group, ["check", *arguments])


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an operator's catalogue, in the data folder of a gateway that is told by the environment."""
    monkeypatch.setenv("CLAW_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("PLUGIN_INTERNAL_SECRET", INTERNAL_SECRET)
    path = tmp_path / "catalogue.toml"
    path.write_text(FILE)
    return path


async def test_what_upstreams_say_goes_before_the_catalogue(
    api: Process, fleet: Fleet, file: Path, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `auto` rests on and is shut down ends the command with 1; what is offered without a price is named."""
    monkeypatch.setenv("NSELF_CLAW_URL", api.url)
    before = await check("--file", str(file))
    assert "gpt-ends" not in before.output
    async with ScriptedUpstream() as upstream:
        listed = [{"id": "gpt-ends", "shutdown_date": "2026-01-31"}, {"id": "gpt-99"}, {"id": "gpt-99-audio"}]
        upstream.routes["/v1/models"] = json_answer({"data": listed})
        await fleet.worker("paid", OPENAI_API_KEY="sk-test", OPENAI_BASE_URL=upstream.url + "/v1")

        async def knows() -> bool:
            return "gpt-ends" in (await check("--file", str(file))).output

        await eventually(knows)
        shown = await check("--file", str(file))
    assert shown.exit_code == 1
    lines = {line.split()[0]: line for line in shown.output.splitlines()}
    assert "2026-01-31" in lines["gpt-ends"]
    assert "no price" in lines["gpt-99"]
    assert "gpt-99-audio" not in lines


async def test_without_a_gateway_only_the_catalogue_is_looked_at(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which it says."""
    monkeypatch.setenv("NSELF_CLAW_URL", "http://127.0.0.1:1")
    shown = await check("--file", str(file))
    assert "Only the catalogue was looked at" in shown.stderr
    assert shown.exit_code == 0
