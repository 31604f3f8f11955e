"""`nself claw up` beside an Ollama on its usual port."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.up.embedded.servers import Servers
from cli.up.terminal import Terminal
from shared.settings import load_settings
from tests.upstreams.scripted import ScriptedUpstream, json_answer

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


async def servers_beside_an_ollama(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, detect: str) -> Servers:
    """What `up` would use, with all but the model configured."""
    environment = {
        "CLAW_DATA_DIR": str(tmp_path),
        "CLAW_OLLAMA_DETECT": detect,
        "REDIS_URL": "redis://127.0.0.1:1",
        "DATABASE_URL": "postgresql://127.0.0.1:1/claw",
        "CLAW_LOCAL_EMBEDDINGS_URL": "http://127.0.0.1:1/v1",
    }
    async with ScriptedUpstream() as ollama:
        ollama.routes["/api/version"] = json_answer({"version": "0.12.0"})
        monkeypatch.setattr("cli.up.embedded.servers._OLLAMA_URL", ollama.url)
        servers = Servers(load_settings(environment), Terminal())
        await servers.start()
    return servers


async def test_an_ollama_that_answers_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then no model is embedded."""
    servers = await servers_beside_an_ollama(tmp_path, monkeypatch, "true")
    assert set(servers.environment) == {"PLUGIN_OLLAMA_URL"}
    assert not servers.has_embedded_model


async def test_it_is_left_alone_where_that_is_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CLAW_OLLAMA_DETECT=false: the embedded model starts though an Ollama is there."""
    servers = await servers_beside_an_ollama(tmp_path, monkeypatch, "false")
    try:
        assert "PLUGIN_OLLAMA_URL" not in servers.environment
        assert servers.has_embedded_model
    finally:
        await servers._model.stop()
