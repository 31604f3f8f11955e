"""Offers of backends: a model at an API of others, those of the paid APIs that are configured, and all that embeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from shared.errors import GatewayError, ModelNotConfigured, Overloaded, UnknownModel, Unsupported
from shared.models.catalogue import FALLBACK_EMBEDDING, LOCAL, endpoints_of
from shared.models.providers import PROVIDERS, endpoints_at, family_of
from shared.types import BackendInfo, Endpoint, LocalModel, Tier

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from api.routing.live_backends import Capacity
    from shared.models.catalogue import Catalogue

RETRY_AFTER_S: Final = 5


def offer_of(backend: BackendInfo, model: str) -> LocalModel:
    """Return what is known of a model at an API of others: what it lists, and what its name says it is for."""
    listed = next((offer for offer in backend.models if offer.id == model), LocalModel(model))
    able = endpoints_at(backend.provider)
    endpoints = tuple(endpoint for endpoint in endpoints_of(model) if endpoint in able)
    return msgspec.structs.replace(listed, endpoints=endpoints)


def paid_api_of(model: str, capacity: Capacity) -> str | None:
    """Return the further paid API (`CLAW_PAID_<NAME>_URL`) whose name stands before a model's, if there is one."""
    api, slash, _ = model.partition("/")
    if not slash or api in PROVIDERS:
        return None
    is_there = any(backend.provider == api for backend in capacity.backends("paid"))
    return api if is_there or capacity.was_served("paid", api) else None


def provider_of(model: str, tier: Tier, capacity: Capacity) -> str | None:
    """Return the provider of a tier to which a model's name belongs."""
    if (api := paid_api_of(model, capacity)) is not None:
        return api if tier == "paid" else None
    family = family_of(model)
    return family.name if family is not None and family.tier == tier else None


def paid_api_offers(
    model: str, api: str, capacity: Capacity, catalogue: Catalogue
) -> list[tuple[BackendInfo, LocalModel]]:
    """Return the backends of a further paid API that have a model; not every name is tried there, but what it offers.

    Raises:
        Overloaded: it cannot be reached now.
        ModelNotConfigured: the model has no price.
        UnknownModel: it is not offered.
    """
    backends = [backend for backend in capacity.backends("paid") if backend.provider == api]
    found = [(backend, offer) for backend in backends for offer in backend.models if offer.id == model]
    if found:
        return found
    if not catalogue.has_price(model):
        raise price_unknown(model)
    if not any(backend.models for backend in backends):
        raise Overloaded(f"'{api}' cannot be reached now.", code="no_worker", retry_after_s=RETRY_AFTER_S)
    raise not_offered(model, api)


def not_offered(model: str, api: str) -> UnknownModel:
    """Return the error for a model that an API of others does not list."""
    return UnknownModel(f"'{api}' does not offer the model '{model}' here.", param="model")


def price_unknown(model: str) -> ModelNotConfigured:
    """Return the error for a paid model without a price.

    Served at a guess, or at nothing, it would walk around every budget, and around what is shown as spent.
    """
    return ModelNotConfigured(
        f"No price is known for the model '{model}': add it to the catalogue (CLAW_CATALOGUE).",
        param="model",
        code="model_price_unknown",
    )


def tool_price_unknown(param: str) -> Unsupported:
    """Return the error for tools that the upstream runs, where there is a budget: it would not hold for them.

    How often they are used is the model's choice, and some are billed by what they make.
    """
    return Unsupported(
        f"What '{param}' asks for is billed by use, which no budget can bound: this key, or the gateway, has one.",
        param=param,
        code="tool_price_unknown",
    )


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


def nobody(endpoint: Endpoint, capacity: Capacity, message: str) -> GatewayError:
    """Return the error where there is no candidate: for now, or for as long as no model is installed."""
    if endpoint == "embeddings" and any(backend.models for backend in capacity.backends("local")):
        return ModelNotConfigured(
            "No local model makes embeddings: install one (`nself claw models install nomic-embed-text`), or name "
            f"one of another tier, as {FALLBACK_EMBEDDING}.",
            param="model",
        )
    return Overloaded(message, code="no_local_model", retry_after_s=RETRY_AFTER_S)
