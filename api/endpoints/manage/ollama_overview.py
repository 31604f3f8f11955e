"""What the management API shows of the models on one's own Ollama servers. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from api.endpoints.manage.ollama_catalogue import CATALOGUE, recommended
from api.endpoints.manage.ollama_names import canonical_name, same_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shared.models.ollama_operations import Store, StoredModel, Wish

GB = 1_000_000_000
_FIRST = ("loaded", "installed", "pulling", "failed")
"""Which status counts where hosts differ."""


def overview(stores: Sequence[Store]) -> dict[str, Any]:
    """Return the reply to `GET /ai/models/local`."""
    free_gb = free_ram_gb(stores)
    best = recommended(free_gb) if stores else None
    models = [model for store in stores for model in _models(store)]
    return {
        "recommended": best.tag if best else None,
        "free_ram_gb": free_gb,
        "ollama_reachable": any(store.is_reachable for store in stores),
        "catalog": [
            {
                "ollama_tag": entry.tag,
                "ram_gb_required": entry.ram_gb,
                "download_gb": entry.download_gb,
                "purpose": entry.purpose,
                "status": _status_of(entry.tag, models),
                "recommended": entry is best,
            }
            for entry in CATALOGUE
        ],
        "models": models,
        "hosts": [
            {"host": store.host, "reachable": store.is_reachable, "free_ram_gb": free_ram_gb([store])}
            for store in stores
        ],
    }


def free_ram_gb(stores: Sequence[Store]) -> float | None:
    """Return the most memory that is free on one of the reachable servers' machines, in GB; None where not known."""
    free = [
        store.state.free_ram_bytes
        for store in stores
        if store.state is not None and store.is_reachable and store.state.free_ram_bytes is not None
    ]
    return round(max(free) / GB, 1) if free else None


def pulling(store: Store, model: str) -> bool:
    """Tell whether a model is being installed there, by its canonical name."""
    return any(_is_pull(wish) and same_model(wish.model, model) for wish in store.wishes)


def installed(store: Store, model: str) -> bool:
    """Tell whether a model is there, by its canonical name."""
    return store.state is not None and any(same_model(found.name, model) for found in store.state.models)


def _models(store: Store) -> Iterator[dict[str, Any]]:
    """Return those that are there, then those that are on their way or could not be had."""
    wishes = {wish.field: wish for wish in store.wishes if wish.kind == "install" or wish.error}
    for found in store.state.models if store.state else ():
        yield _shown(store, found.name, found, wishes.pop(found.name.casefold(), None))
    for wish in sorted(wishes.values(), key=lambda wish: wish.asked_ms):
        if wish.kind == "install" and wish.state != "done":
            yield _shown(store, wish.model, None, wish)


def _shown(store: Store, name: str, found: StoredModel | None, wish: Wish | None) -> dict[str, Any]:
    status = "loaded" if found and found.is_loaded else "installed" if found else "failed"
    shown: dict[str, Any] = {
        "model_name": name,
        "status": status,
        "size_bytes": found.size_bytes if found else 0,
        "host": store.host,
        "error": wish.error if wish else None,
    }
    if wish is not None and _is_pull(wish):
        total = wish.total_bytes
        shown |= {
            "status": "pulling",
            "size_bytes": total or shown["size_bytes"],
            "percent": int(100 * wish.completed_bytes / total) if total else 0,
            "completed_bytes": wish.completed_bytes,
            "total_bytes": total,
            "detail": wish.detail or wish.state,
        }
    return shown


def _is_pull(wish: Wish) -> bool:
    return wish.kind == "install" and not wish.is_settled


def _status_of(tag: str, models: Sequence[dict[str, Any]]) -> str:
    name = canonical_name(tag)
    found = {model["status"] for model in models if same_model(model["model_name"], name)}
    return next((status for status in _FIRST if status in found), "available")
