"""Models of an Ollama that run elsewhere: never local, and offered in the paid tier only where that is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from shared.models.providers import family_of
from shared.redis.client import connect
from shared.settings import load_credentials, load_settings
from tests.upstreams.ollama import replies as ollama_replies
from tests.upstreams.outcome import chat, outcome_of
from tests.upstreams.scripted import ScriptedUpstream, json_answer, ndjson
from workers.backends.build import backends_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from shared.types import Event, Tier
    from workers.backends.backend import Backend

REMOTE = "https://ollama.com:443"
LISTED: list[dict[str, Any]] = [
    {"name": "scripted", "digest": "a"},
    {"name": "gpt-oss:120b-cloud", "digest": "b", "remote_host": REMOTE, "remote_model": "gpt-oss:120b"},
    {"name": "mine:latest", "digest": "c", "remote_host": REMOTE, "remote_model": "glm-4.6"},
    {"name": "kimi-k2:cloud", "digest": "d"},
    {"name": "cloud-lover:7b", "digest": "e"},
]
LOCAL = {"scripted", "cloud-lover:7b"}
CLOUD = {"ollama-cloud/gpt-oss:120b-cloud", "ollama-cloud/mine:latest", "ollama-cloud/kimi-k2:cloud"}


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    """Yield an Ollama with models of both kinds."""
    async with ScriptedUpstream() as server:
        server.routes["/api/tags"] = json_answer({"models": LISTED})
        server.routes["/api/show"] = json_answer(ollama_replies.show(131_072))
        yield server


def backends(tier: Tier, url: str, directory: Path, **environment: str) -> list[Backend]:
    """Return what a worker of a tier serves."""
    settings = load_settings({"CLAW_DATA_DIR": str(directory), "PLUGIN_OLLAMA_URL": url, **environment})
    return backends_of(tier, settings, load_credentials(tier, environment), connect("redis://localhost:1"))


async def names(backend: Backend) -> set[str]:
    """Return the models that are announced."""
    await backend.discover()
    return {model.id for model in backend.info().models}


async def test_a_model_that_runs_elsewhere_is_not_local(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    """By the host that its entry names, or by its tag; by default it is not there at all."""
    (local,) = backends("local", upstream.url, tmp_path)
    assert (local.tier, await names(local)) == ("local", LOCAL)
    await local.close()


async def test_cloud_models_are_paid_ones_that_the_local_tiers_worker_serves(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    """In a queue of their own, and by a name that forces the paid tier; the Ollama gets its own name for them."""
    local, cloud = backends("local", upstream.url, tmp_path, CLAW_OLLAMA_CLOUD="true")
    assert await names(local) == LOCAL
    assert (cloud.tier, cloud.info().provider, await names(cloud)) == ("paid", "ollama-cloud", CLOUD)
    assert cloud.queue.startswith("arq:queue:paid:ollama-cloud:")
    family = family_of("ollama-cloud/kimi-k2:cloud")
    assert family is not None
    assert (family.name, family.tier) == ("ollama-cloud", "paid")
    upstream.add(ndjson(ollama_replies.text("Hel", "lo")))
    events: list[Event] = []
    name = "ollama-cloud/mine:latest"
    (account,) = cloud.accounts.all
    async with account.provider.stream(chat(), name) as batches:
        async for batch in batches:
            events.extend(batch)
    assert outcome_of(events).content == "Hello"
    (sent,) = upstream.requests
    assert (sent.body["model"], sent.body["options"]["num_ctx"]) == ("mine:latest", 131_072)
    assert backends("paid", upstream.url, tmp_path, CLAW_OLLAMA_CLOUD="true") == []
    for backend in (local, cloud):
        await backend.close()
