"""The models of live workers, by backend. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from shared.redis.names import place_of_queue
from shared.types import TIERS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.types import BackendInfo, LocalModel


class ServedModel(msgspec.Struct, frozen=True):
    """A model of a backend."""

    name: str
    context_length: int | None
    endpoints: tuple[str, ...]
    is_loaded: bool
    shutdown: str


class Served(msgspec.Struct):
    """A backend, whoever serves it."""

    backend: str
    tier: str
    provider: str
    slots: int
    workers: int
    models: list[ServedModel]


def served(by_worker: Iterable[tuple[str, BackendInfo]]) -> list[Served]:
    """Return the backends, by tier and name; several workers of one are added up."""
    found: dict[str, Served] = {}
    for _, backend in by_worker:
        known = found.get(backend.queue)
        if known is None:
            place = place_of_queue(backend.queue)
            models = sorted(map(_model, backend.models), key=lambda model: model.name)
            found[backend.queue] = Served(place, backend.tier, backend.provider, backend.slots, 1, models)
        else:
            known.slots += backend.slots
            known.workers += 1
            names = {model.name for model in known.models}
            known.models += [_model(model) for model in backend.models if model.id not in names]
    return sorted(found.values(), key=lambda each: (TIERS.index(each.tier), each.backend))


def _model(model: LocalModel) -> ServedModel:
    return ServedModel(model.id, model.context_length, model.endpoints, model.is_loaded, model.shutdown)
