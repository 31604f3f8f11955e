"""The models on one's own Ollama servers, as the management API shows them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from api.endpoints.manage.ollama_catalogue import CATALOGUE, recommended
from api.endpoints.manage.ollama_names import canonical_name, same_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shared.models.ollama_operations import InstalledModel, Library, ModelOperation

GB = 1_000_000_000
_FIRST = ("loaded", "installed", "pulling", "failed")
"""Statuses by precedence, where hosts differ."""


def overview(libraries: Sequence[Library]) -> dict[str, Any]:
    """Return the reply to `GET /ai/models/local`."""
    free_gb = free_ram_gb(libraries)
    best = recommended(free_gb) if libraries else None
    models = [model for library in libraries for model in _models(library)]
    return {
        "recommended": best.tag if best else None,
        "free_ram_gb": free_gb,
        "ollama_reachable": any(library.is_reachable for library in libraries),
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
            {"host": library.host, "reachable": library.is_reachable, "free_ram_gb": free_ram_gb([library])}
            for library in libraries
        ],
    }


def free_ram_gb(libraries: Sequence[Library]) -> float | None:
    """Return the most memory that is free on one of the reachable servers' machines, in GB; None where not known."""
    free = [
        library.state.free_ram_bytes
        for library in libraries
        if library.state is not None and library.is_reachable and library.state.free_ram_bytes is not None
    ]
    return round(max(free) / GB, 1) if free else None


def pulling(library: Library, model: str) -> bool:
    """Return whether a model is being installed there, by its canonical name."""
    return any(_is_pull(operation) and same_model(operation.model, model) for operation in library.operations)


def installed(library: Library, model: str) -> bool:
    """Return whether a model is there, by its canonical name."""
    return library.state is not None and any(same_model(found.name, model) for found in library.state.models)


def _models(library: Library) -> Iterator[dict[str, Any]]:
    """Return those that are there, then those that are on their way or could not be had."""
    operations = {
        operation.field: operation for operation in library.operations if operation.kind == "install" or operation.error
    }
    for found in library.state.models if library.state else ():
        yield _shown(library, found.name, found, operations.pop(found.name.casefold(), None))
    for operation in sorted(operations.values(), key=lambda operation: operation.asked_ms):
        if operation.kind == "install" and operation.state != "done":
            yield _shown(library, operation.model, None, operation)


def _shown(
    library: Library, name: str, found: InstalledModel | None, operation: ModelOperation | None
) -> dict[str, Any]:
    status = "loaded" if found and found.is_loaded else "installed" if found else "failed"
    shown: dict[str, Any] = {
        "model_name": name,
        "status": status,
        "size_bytes": found.size_bytes if found else 0,
        "host": library.host,
        "error": operation.error if operation else None,
    }
    if operation is not None and _is_pull(operation):
        total = operation.total_bytes
        shown |= {
            "status": "pulling",
            "size_bytes": total or shown["size_bytes"],
            "percent": int(100 * operation.completed_bytes / total) if total else 0,
            "completed_bytes": operation.completed_bytes,
            "total_bytes": total,
            "detail": operation.detail or operation.state,
        }
    return shown


def _is_pull(operation: ModelOperation) -> bool:
    return operation.kind == "install" and not operation.is_settled


def _status_of(tag: str, models: Sequence[dict[str, Any]]) -> str:
    name = canonical_name(tag)
    found = {model["status"] for model in models if same_model(model["model_name"], name)}
    return next((status for status in _FIRST if status in found), "available")
