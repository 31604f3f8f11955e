"""What tests of local models ask of a gateway with a scripted Ollama (fixtures: `tests/ollama_fixtures.py`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.ollama_fixtures import MODEL, MODELS

if TYPE_CHECKING:
    import httpx

    from tests.conftest import Eventually


async def overview(client: httpx.AsyncClient, **query: str) -> dict[str, Any]:
    """Return what is shown of the models."""
    reply = await client.get(MODELS, params=query)
    assert reply.status_code == 200, reply.text
    shown: dict[str, Any] = reply.json()
    return shown


async def status_of(client: httpx.AsyncClient, model: str = MODEL) -> str | None:
    """Return how far a model is."""
    models = (await overview(client))["models"]
    return next((shown["status"] for shown in models if shown["model_name"] == model), None)


async def becomes(client: httpx.AsyncClient, eventually: Eventually, status: str | None, model: str = MODEL) -> None:
    """Wait until a model is that far."""

    async def so_far() -> bool:
        return await status_of(client, model) == status

    await eventually(so_far)
