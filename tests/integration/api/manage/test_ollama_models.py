"""The management API of local models: real api and worker processes, a scripted Ollama."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.fleet import PATIENCE_S, Fleet, Process
from tests.integration.local_models import becomes, overview, status_of
from tests.ollama_fixtures import MODEL, MODELS, SIZE
from tests.upstreams.numbered import NumberedUpstream
from tests.upstreams.ollama import replies as ollama_replies
from tests.upstreams.ollama.server import OllamaServer
from tests.upstreams.scripted import ndjson

if TYPE_CHECKING:
    from tests.conftest import Eventually

INSTALL = f"{MODELS}/install"
REMOVE = f"{MODELS}/remove"


@pytest.mark.usefixtures("ollama_worker")
async def test_a_model_is_installed_offered_and_removed(
    ollama_client: httpx.AsyncClient, ollama: OllamaServer, eventually: Eventually
) -> None:
    """The life of a model over the API: it shows how far it is, chats, and goes; twice is no error."""
    ollama.is_held = True
    for _ in range(2):
        reply = await ollama_client.post(INSTALL, json={"model": MODEL})
        assert reply.status_code == 202
        assert (reply.json()["model"], reply.json()["estimated_minutes"]) == (MODEL, 1)
    host = reply.json()["host"]

    async def half() -> dict[str, Any] | None:
        models = (await overview(ollama_client))["models"]
        return models[0] if models and models[0].get("percent") == 50 else None

    shown = await eventually(half)
    assert (shown["model_name"], shown["status"], shown["size_bytes"], shown["host"]) == (MODEL, "pulling", SIZE, host)
    ollama.go_on.set()
    await becomes(ollama_client, eventually, "installed")
    assert ollama.pulled == [MODEL]

    async def listed() -> bool:
        return MODEL in [model["id"] for model in (await ollama_client.get("/v1/models")).json()["data"]]

    await eventually(listed)
    ollama.add(ndjson(ollama_replies.text("Hello")))
    chat = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}
    answer = (await ollama_client.post("/v1/chat/completions", json=chat)).json()
    assert answer["choices"][0]["message"]["content"] == "Hello"
    ollama.loaded.add(MODEL)
    await becomes(ollama_client, eventually, "loaded")
    again = await ollama_client.post(INSTALL, json={"model": MODEL})
    assert (again.status_code, again.json()["estimated_minutes"]) == (202, 0)
    await becomes(ollama_client, eventually, "loaded")
    for _ in range(2):
        removed = await ollama_client.delete(f"{REMOVE}/{MODEL}")
        assert (removed.status_code, removed.json()) == (200, {"removed": MODEL, "hosts": [host]})
    assert await status_of(ollama_client) is None
    assert ollama.disk == {}

    async def gone() -> bool:
        return not await listed()

    await eventually(gone)


@pytest.mark.usefixtures("ollama_worker")
async def test_the_catalogue_says_what_fits_and_what_is_there(
    ollama_client: httpx.AsyncClient, ollama: OllamaServer, eventually: Eventually
) -> None:
    """One entry is recommended, the strongest for the free memory; `auto` installs it."""
    shown = await overview(ollama_client)
    entries = {entry["ollama_tag"]: entry for entry in shown["catalog"]}
    assert {entry["status"] for entry in entries.values()} == {"available"}
    assert shown["free_ram_gb"] > 0
    best = shown["recommended"]
    assert [tag for tag, entry in entries.items() if entry["recommended"]] == [best]
    assert entries[best]["ram_gb_required"] <= shown["free_ram_gb"]
    ollama.library |= dict.fromkeys(entries, SIZE)
    reply = await ollama_client.post(INSTALL, json={"auto": True})
    best = reply.json()["model"]  # the free memory may have changed since
    assert (reply.status_code, best in entries) == (202, True)
    await becomes(ollama_client, eventually, "installed", best)
    entries = {entry["ollama_tag"]: entry for entry in (await overview(ollama_client))["catalog"]}
    assert entries[best]["status"] == "installed"


async def test_a_pull_survives_the_worker_that_runs_it(
    ollama_client: httpx.AsyncClient,
    ollama_fleet: Fleet,
    ollama_worker: Process,
    ollama: OllamaServer,
    eventually: Eventually,
) -> None:
    """Killed in the middle: another worker goes on with it, and never two at once."""
    ollama.is_held = True
    await ollama_client.post(INSTALL, json={"model": MODEL})
    await ollama.until(lambda: ollama.pulling == 1)
    await ollama_fleet.worker()
    ollama_worker.kill()
    await ollama.until(lambda: len(ollama.pulled) == 2)
    assert await status_of(ollama_client) == "pulling"
    ollama.go_on.set()
    await becomes(ollama_client, eventually, "installed")
    assert (ollama.pulled, ollama.most_pulling) == ([MODEL, MODEL], 1)


@pytest.mark.usefixtures("ollama_worker")
async def test_a_pull_that_is_removed_stops(
    ollama_client: httpx.AsyncClient, ollama: OllamaServer, eventually: Eventually
) -> None:
    """That is how to change one's mind."""
    ollama.is_held = True
    await ollama_client.post(INSTALL, json={"model": MODEL})
    await ollama.until(lambda: ollama.pulling == 1)
    assert (await ollama_client.delete(f"{REMOVE}/{MODEL}")).status_code == 200
    await ollama.until(lambda: ollama.pulling == 0)
    await becomes(ollama_client, eventually, None)


@pytest.mark.usefixtures("ollama_worker")
async def test_a_failed_pull_is_shown_with_its_reason(
    ollama_client: httpx.AsyncClient, ollama: OllamaServer, eventually: Eventually
) -> None:
    """A full disk, in Ollama's words."""
    ollama.errors[MODEL] = "write /models/blobs/partial: no space left on device"
    await ollama_client.post(INSTALL, json={"model": MODEL})
    await becomes(ollama_client, eventually, "failed")
    shown = await overview(ollama_client)
    assert shown["models"][0]["error"] == ollama.errors[MODEL]
    assert {entry["ollama_tag"]: entry["status"] for entry in shown["catalog"]}[MODEL] == "failed"


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({}, 400, "auto"),
        ({"auto": True, "model": MODEL}, 400, "auto"),
        ({"model": "../../etc/passwd"}, 400, "model's name"),
        ({"model": "a\nb"}, 400, "model's name"),
        ({"model": "x" * 10_000}, 400, "at most"),
        ({"model": 7}, 400, "$.model"),
        ({"modell": MODEL}, 400, "modell"),
        ({"model": MODEL, "host": "nowhere:1"}, 404, "no such host"),
    ],
)
@pytest.mark.usefixtures("ollama_worker")
async def test_a_wrong_installation_is_refused_with_a_reason(
    ollama_client: httpx.AsyncClient, ollama: OllamaServer, body: dict[str, Any], status: int, says: str
) -> None:
    """As one text; nothing reaches Ollama."""
    reply = await ollama_client.post(INSTALL, json=body)
    assert (reply.status_code, list(reply.json())) == (status, ["error"])
    assert says in reply.json()["error"]
    assert ollama.pulled == []


@pytest.mark.parametrize(
    ("name", "status"),
    [("nosuch:1b", 404), ("hf.co/nobody/Nothing-GGUF:Q4_K_M", 404), ("a/b/c/d", 400), ("a%20b", 400), ("%2e%2e", 400)],
)
@pytest.mark.usefixtures("ollama_worker")
async def test_what_cannot_be_removed_is_refused(ollama_client: httpx.AsyncClient, name: str, status: int) -> None:
    """An unknown model is 404, twice too; what is no name is 400."""
    for _ in range(2):
        reply = await ollama_client.delete(f"{REMOVE}/{name}")
        assert (reply.status_code, type(reply.json()["error"])) == (status, str)


@pytest.mark.parametrize(("method", "path"), [("GET", MODELS), ("POST", INSTALL), ("DELETE", f"{REMOVE}/{MODEL}")])
async def test_only_the_internal_token_opens_it(ollama_api: Process, method: str, path: str) -> None:
    """401 with a text."""
    async with httpx.AsyncClient(base_url=ollama_api.url, timeout=PATIENCE_S) as stranger:
        reply = await stranger.request(method, path)
    assert (reply.status_code, list(reply.json())) == (401, ["error"])


async def test_without_an_ollama_it_says_what_is_missing(
    ollama_client: httpx.AsyncClient, ollama_fleet: Fleet, ollama: OllamaServer, eventually: Eventually
) -> None:
    """No worker; one whose server is not Ollama; one whose Ollama is down."""
    assert (await overview(ollama_client))["ollama_reachable"] is False
    nobody = await ollama_client.post(INSTALL, json={"auto": True})
    assert (nobody.status_code, "No local worker" in nobody.json()["error"]) == (503, True)
    async with NumberedUpstream() as other:
        ollama_worker = await ollama_fleet.worker(PLUGIN_OLLAMA_URL="", CLAW_LOCAL_OPENAI_URL=other.url)

        async def other_is_named() -> bool:
            refused = await ollama_client.post(INSTALL, json={"auto": True})
            return refused.status_code == 503 and "not Ollama" in refused.json()["error"]

        await eventually(other_is_named)
        ollama_worker.terminate()
        await ollama_worker.process.wait()
    down = await ollama_fleet.worker(PLUGIN_OLLAMA_URL="http://127.0.0.1:1")

    async def down_is_named() -> bool:
        refused = await ollama_client.delete(f"{REMOVE}/{MODEL}")
        return refused.status_code == 503 and "does not answer" in refused.json()["error"]

    await eventually(down_is_named)
    shown = await overview(ollama_client)
    assert (shown["ollama_reachable"], shown["models"], len(shown["hosts"])) == (False, [], 1)
    down.terminate()
    assert ollama.pulled == []


@pytest.mark.usefixtures("ollama_worker")
async def test_with_several_servers_one_can_be_named(
    ollama_client: httpx.AsyncClient, ollama_fleet: Fleet, ollama: OllamaServer, eventually: Eventually
) -> None:
    """Without a name it is removed wherever it is."""
    async with OllamaServer({MODEL: SIZE}) as second:
        leaving = await ollama_fleet.worker(PLUGIN_OLLAMA_URL=second.url)
        port = second.url.rpartition(":")[2]

        async def hosts() -> list[str] | None:
            shown = [host["host"] for host in (await overview(ollama_client))["hosts"] if host["reachable"]]
            return sorted(shown, key=lambda host: host.endswith(port)) if len(shown) == 2 else None

        first_host, second_host = await eventually(hosts)
        second.is_held = True
        reply = await ollama_client.post(INSTALL, json={"model": MODEL, "host": second_host})
        assert (reply.status_code, reply.json()["host"]) == (202, second_host)
        assert (await ollama_client.post(INSTALL, json={"model": MODEL})).json()["host"] == second_host
        second.go_on.set()
        await becomes(ollama_client, eventually, "installed")
        assert (ollama.disk, list(second.disk)) == ({}, [MODEL])
        assert (await ollama_client.post(INSTALL, json={"model": MODEL})).json()["host"] == second_host
        assert (await overview(ollama_client, host=first_host))["models"] == []
        assert (await ollama_client.delete(f"{REMOVE}/{MODEL}", params={"host": first_host})).status_code == 404
        ollama.disk[MODEL] = SIZE
        removed = await ollama_client.delete(f"{REMOVE}/{MODEL}")
        assert (removed.status_code, removed.json()["hosts"]) == (200, sorted([first_host, second_host]))
        assert (ollama.disk, second.disk) == ({}, {})
        leaving.terminate()
        await leaving.process.wait()
