"""What backends offer: a model at an API of others, and all that embeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from shared.models.catalogue import LOCAL, endpoints_of
from shared.models.providers import endpoints_at
from shared.types import BackendInfo, LocalModel

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def offer_of(backend: BackendInfo, model: str) -> LocalModel:
    """Return what is known of a model at an API of others: what it lists, and what its name says it is for."""
    listed = next((offer for offer in backend.models if offer.id == model), LocalModel(model))
    able = endpoints_at(backend.provider)
    endpoints = tuple(endpoint for endpoint in endpoints_of(model) if endpoint in able)
    return msgspec.structs.replace(listed, endpoints=endpoints)


def embedding_models(backends: Iterable[BackendInfo], local: Sequence[str]) -> str:
    """Return a sentence that names what embeds now.

    Args:
        backends: all that are live.
        local: the models that the name `local` stands for.
    """
    offers = [
        model if backend.tier == "local" else offer_of(backend, model.id)
        for backend in backends
        for model in backend.models
    ]
    names = [model.id for model in offers if "embeddings" in model.endpoints and model.id not in local]
    also = ", ".join(dict.fromkeys(names))
    if local:
        return f"'{LOCAL}' works here: it is {' or '.join(dict.fromkeys(local))}" + (
            f"; so do {also}." if also else "."
        )
    return f"These embed here: {also}." if also else "No model embeds here now."
