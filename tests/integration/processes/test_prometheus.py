"""What is in deploy/ for Prometheus and Grafana, by Prometheus' own tools and a real Prometheus on a fleet in use."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from cli.up.ports import free_port
from tests.fleet import Fleet, chat, ready
from tests.upstreams.gemini import replies as gemini_replies
from tests.upstreams.scripted import ScriptedUpstream, sse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import Eventually

pytestmark = pytest.mark.debian

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
RULES = DEPLOY / "prometheus"
GEMINI_MODEL = "gemini-3.8-flash"
INTERVAL_S = 0.2


@pytest.fixture
def fleet_environment() -> dict[str, str]:
    """Return a budget, so that its limit is there."""
    return {"PLUGIN_AI_MONTHLY_BUDGET_USD": "10"}


async def _promtool(*arguments: str, given: bytes = b"") -> str:
    """Run promtool in the folder of the rules, with something on its standard input; return what it says."""
    process = await asyncio.create_subprocess_exec(
        *("promtool", *arguments),
        cwd=RULES,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate(given)
    assert process.returncode == 0, said.decode()
    return said.decode()


async def test_the_rules_and_the_configuration_are_right() -> None:
    """By promtool."""
    assert "SUCCESS" in await _promtool("check", "rules", "alerts.yml")
    assert "SUCCESS" in await _promtool("check", "config", "prometheus.yml")


async def test_each_alert_fires_when_it_shall_and_not_when_it_nearly_would() -> None:
    """By promtool; each alert has both tests."""
    assert "SUCCESS" in await _promtool("test", "rules", "alerts_test.yml")
    alerts = {line.partition(": ")[2] for line in _lines("alerts.yml") if line.startswith("- alert: ")}
    tested = [line.partition(": ")[2] for line in _lines("alerts_test.yml") if line.startswith("alertname: ")]
    assert alerts
    for alert in alerts:
        assert tested.count(alert) == 2, alert


def _lines(name: str) -> list[str]:
    return [line.strip().removeprefix("- ") if "alertname" in line else line.strip() for line in _text(name)]


def _text(name: str) -> list[str]:
    return (RULES / name).read_text().splitlines()


@pytest.fixture
async def gemini() -> AsyncIterator[ScriptedUpstream]:
    """Yield a Gemini API, so that there is an account with quotas."""
    async with ScriptedUpstream(models=(GEMINI_MODEL,)) as server:
        server.fallback = sse(gemini_replies.text("Hel", "lo"))
        yield server


@pytest.fixture
async def client(fleet: Fleet, gemini: ScriptedUpstream, eventually: Eventually) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of a fleet with metrics; the api's port for them is in its headers."""
    port = free_port()
    api = await fleet.api(CLAW_METRICS_PORT=str(port))
    await fleet.worker(CLAW_METRICS_PORT=str(free_port()))
    given = {"GEMINI_BASE_URL": gemini.url, "GEMINI_API_KEY": "a", "CLAW_ENCRYPTION_KEY": "b"}
    await fleet.worker("gemini", CLAW_METRICS_PORT=str(free_port()), **given)
    fleet.start("recorder", ["workers", "recorder"], 0, {"CLAW_METRICS_PORT": str(free_port())})
    await ready(api, eventually)
    headers = {"authorization": f"Bearer {await fleet.key()}", "metrics-port": str(port)}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=60, trust_env=False) as opened:

        async def serves_gemini() -> bool:
            listed = (await opened.get("/v1/models")).json()["data"]
            return any(model["id"] == GEMINI_MODEL for model in listed)

        await eventually(serves_gemini)
        yield opened


async def test_every_metric_is_well_named_and_described(
    fleet: Fleet, client: httpx.AsyncClient, eventually: Eventually
) -> None:
    """By promtool, of each process in use."""
    await _use(client)

    async def all_are_there() -> list[str]:
        found = await _targets(client)
        return found if len(found) == len(fleet.processes) else []

    for target in await eventually(all_are_there):
        text = (await client.get(f"http://{target}/metrics")).content
        assert b"# HELP claw_requests_total " in text
        # Those of prometheus_client itself are not ours to name.
        assert "claw_" not in await _promtool("check", "metrics", given=text)


async def _targets(client: httpx.AsyncClient) -> list[str]:
    url = f"http://127.0.0.1:{client.headers['metrics-port']}/metrics/targets"
    return [entry["targets"][0] for entry in (await client.get(url)).json()]


async def _use(client: httpx.AsyncClient) -> None:
    await client.post("/v1/chat/completions", json=chat(stream=True))
    await client.post("/v1/chat/completions", json=chat(model=GEMINI_MODEL))
    await client.post("/v1/chat/completions", json=chat(model="none"))


@pytest.fixture
async def prometheus(tmp_path: Path, client: httpx.AsyncClient) -> AsyncIterator[str]:
    """Yield a Prometheus by the configuration of deploy/, less its intervals and the port of the api; its URL."""
    text = (
        (RULES / "prometheus.yml").read_text().replace("127.0.0.1:9464", f"127.0.0.1:{client.headers['metrics-port']}")
    )
    text = text.replace("interval: 15s", f"interval: {int(INTERVAL_S * 1000)}ms")
    folder = tmp_path / "prometheus"
    folder.mkdir()
    (folder / "prometheus.yml").write_text(text)
    shutil.copy(RULES / "alerts.yml", folder)
    port = free_port()
    log = (folder / "log").open("w")
    process = await asyncio.create_subprocess_exec(
        *("prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"),
        f"--web.listen-address=127.0.0.1:{port}",
        stdout=log,
        stderr=log,
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()
        log.close()


def _expressions() -> list[tuple[str, str]]:
    """Return title and expression of each query of the dashboard, with a range for Grafana's own variable."""
    panels = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())["panels"]
    return [
        (panel["title"], target["expr"].replace("$__rate_interval", "30s"))
        for panel in panels
        for target in panel.get("targets", [])
    ]


async def _values(client: httpx.AsyncClient, url: str, expression: str) -> list[float]:
    try:
        reply = await client.post(f"{url}/api/v1/query", data={"query": expression})
    except httpx.TransportError:
        return []
    if reply.status_code == 503:
        return []
    body: dict[str, Any] = reply.json()
    assert body["status"] == "success", (expression, body)
    return [float(series["value"][1]) for series in body["data"]["result"]]


async def test_every_expression_of_the_dashboard_has_data_of_a_fleet_in_use(
    client: httpx.AsyncClient, prometheus: str, fleet: Fleet, eventually: Eventually
) -> None:
    """Of a real Prometheus that found the processes by the api's list; and no alert cannot be computed."""
    lacking = _expressions()
    assert len(lacking) > 40

    async def finds_all() -> bool:
        return await _values(client, prometheus, 'sum(up{job="nself-claw"})') == [len(fleet.processes)]

    await eventually(finds_all)

    async def has_all() -> bool:
        await _use(client)
        found = {expression: await _values(client, prometheus, expression) for _, expression in lacking}
        lacking[:] = [
            (title, expression)
            for title, expression in lacking
            if not any(math.isfinite(value) for value in found[expression])
        ]
        return not lacking

    try:
        await eventually(has_all)
    finally:
        assert lacking == []
    rules = (await client.get(f"{prometheus}/api/v1/rules")).json()["data"]["groups"][0]["rules"]
    assert {(rule["health"], rule.get("lastError", "")) for rule in rules} <= {("ok", ""), ("unknown", "")}
