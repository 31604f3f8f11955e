"""What a paid model refuses is learned by its worker, and the api asks it for that no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from click.testing import CliRunner

from cli.main import main
from tests.fleet import INTERNAL_SECRET, Fleet, Process, chat
from tests.upstreams.openai import replies as openai_replies
from tests.upstreams.scripted import ScriptedUpstream, json_answer, sse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import Eventually

MODEL, AUTO, LOCAL = "gpt-4.1", "gpt-6-luna", "odd"


@pytest.fixture
def fleet_environment() -> dict[str, str]:
    """Return settings by which `auto` asks this local model first."""
    return {"CLAW_AUTO_LOCAL_MODEL": LOCAL}


@pytest.fixture
async def openai(fleet: Fleet, client: httpx.AsyncClient, eventually: Eventually) -> AsyncIterator[ScriptedUpstream]:
    """OpenAI, as the paid tier."""
    async with ScriptedUpstream(models=(MODEL, AUTO)) as scripted:
        scripted.fallback = sse(openai_replies.text("Hello"))
        await fleet.worker("paid", OPENAI_API_KEY="k", OPENAI_BASE_URL=scripted.url + "/v1")

        async def listed() -> bool:
            return MODEL in (await client.get("/v1/models")).text

        await eventually(listed)
        yield scripted


def refuse(openai: ScriptedUpstream, param: str, code: str) -> None:
    """Let the next request be refused for a parameter."""
    openai.add(json_answer({"error": {"message": f"no {param}", "param": param, "code": code}}, 400))


async def unsupported(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """Return what the management API says."""
    reply = await client.get("/claw/v1/models/unsupported", headers={"x-internal-token": INTERNAL_SECRET})
    return reply.json()["data"]  # type: ignore[no-any-return]  # JSON is Any


async def test_a_refused_hint_is_left_out_after_the_second_time(
    client: httpx.AsyncClient, openai: ScriptedUpstream, api: Process, eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Two values met it. The header names it from then on, and the command shows it."""
    for value in (0.7, 0.3):
        refuse(openai, "temperature", "unsupported_value")
        reply = await client.post("/v1/chat/completions", json=chat(model=MODEL, temperature=value))
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, "temperature")
    (entry,) = await eventually(lambda: unsupported(client))
    assert (entry["tier"], entry["backend"], entry["model"]) == ("paid", "openai", MODEL)
    reply = await client.post("/v1/chat/completions", json=chat(model=MODEL, temperature=0.9))
    assert (reply.status_code, reply.headers["x-nself-omitted"]) == (200, "temperature")
    assert "temperature" not in openai.requests[-1].body
    monkeypatch.setenv("NSELF_CLAW_URL", api.url)
    monkeypatch.setenv("PLUGIN_INTERNAL_SECRET", INTERNAL_SECRET)
    shown = CliRunner().invoke(main, ("claw", "models", "unsupported"))
    assert shown.output.splitlines()[1].split()[:4] == ["paid", "openai", MODEL, "temperature"]


async def test_a_refused_parameter_is_a_400_before_it_is_tried(
    client: httpx.AsyncClient, openai: ScriptedUpstream, fleet: Fleet, eventually: Eventually
) -> None:
    """Two keys met it; another model of the backend is as it was."""
    other = {"authorization": f"Bearer {await fleet.key()}"}
    asked = chat(model=MODEL, logit_bias={"1": 5})
    for headers in ({}, other):
        refuse(openai, "logit_bias", "unsupported_parameter")
        assert (await client.post("/v1/chat/completions", json=asked, headers=headers)).status_code == 400
    await eventually(lambda: unsupported(client))
    before = len(openai.requests)
    reply = await client.post("/v1/chat/completions", json=asked)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "logit_bias")
    assert reply.json()["error"]["code"] == "unsupported_parameter"
    assert len(openai.requests) == before
    assert (await client.post("/v1/chat/completions", json=chat(model=MODEL))).status_code == 200


@pytest.mark.parametrize(
    "case",
    [
        ("unsupported_value", {"verbosity": "low"}, True),
        ("unsupported_parameter", {"verbosity": "low"}, True),
        ("invalid_value", {"verbosity": "low"}, False),
        ("unknown_parameter", {"chattiness": 3}, False),
    ],
)
async def test_auto_goes_on_from_a_model_that_refuses_what_openai_names(
    client: httpx.AsyncClient,
    openai: ScriptedUpstream,
    fleet: Fleet,
    eventually: Eventually,
    case: tuple[str, dict[str, Any], bool],
) -> None:
    """Every other 400 is the caller's, and goes nowhere else."""
    code, value, goes_on = case
    async with ScriptedUpstream(models=(LOCAL,)) as local:
        await fleet.worker("local", CLAW_LOCAL_OPENAI_URL=local.url + "/v1")

        async def listed() -> bool:
            return LOCAL in (await client.get("/v1/models")).text

        await eventually(listed)
        local.add(json_answer({"error": {"message": "m", "param": next(iter(value)), "code": code}}, 400))
        reply = await client.post("/v1/chat/completions", json=chat(model="auto", **value))
        assert len(local.requests) == 1
    assert (reply.status_code, len(openai.requests)) == ((200, 1) if goes_on else (400, 0))
    if not goes_on:
        assert reply.json()["error"]["code"] == code
