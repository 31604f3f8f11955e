"""A model's name and the live capacity -> the ordered targets of a request."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from shared.catalogue import AUTO, FALLBACK_EMBEDDING, LOCAL, LOCAL_EMBEDDING, endpoints_of, family_of
from shared.errors import InvalidRequest, ModelNotConfigured, Overloaded, UnknownModel
from shared.types import Endpoint, Lane, Target

if TYPE_CHECKING:
    from collections.abc import Iterable

    from api.capacity import Capacity
    from shared.settings import Settings

RETRY_AFTER_S = 5


def route(model: str, endpoint: Endpoint, capacity: Capacity, settings: Settings) -> list[Target]:
    """Where a request for `model` may go, best first. A live local model's name wins over a pattern.

    Raises:
        InvalidRequest: the model cannot do what is asked of it.
        ModelNotConfigured: the name is known, but the server lacks its credential.
        UnknownModel: nobody has such a model.
        Overloaded: what could serve it is not there now.
    """
    lanes = list(capacity.lanes("local"))
    if model in {AUTO, LOCAL}:
        return _any_local(model, endpoint, lanes, settings)
    offered = [(lane, found) for lane in lanes for found in lane.models if model in {found.id, _untagged(found.id)}]
    if offered:
        able = [Target("local", lane.queue, found.id) for lane, found in offered if endpoint in found.endpoints]
        if not able:
            raise InvalidRequest(f"The model '{model}' is not for {endpoint}.", param="model", code="wrong_endpoint")
        return _distinct(able)
    if _untagged(model) == LOCAL_EMBEDDING and endpoint == "embeddings":
        return _embedding_fallback(model, capacity, settings)
    return _forced(model, endpoint, capacity, settings)


def _forced(model: str, endpoint: Endpoint, capacity: Capacity, settings: Settings) -> list[Target]:
    """The targets of a name that forces a tier other than the local one."""
    family = family_of(model)
    if family is None:
        raise UnknownModel(f"The model '{model}' does not exist. GET /v1/models lists what there is.", param="model")
    lanes = [lane for lane in capacity.lanes(family.tier) if lane.provider == family.provider]
    if not lanes and capacity.was_served(family.tier, family.provider):
        raise Overloaded(
            f"No worker for the model '{model}' is there now.", code="no_worker", retry_after_s=RETRY_AFTER_S
        )
    if not lanes:
        raise ModelNotConfigured(
            f"The model '{model}' is not configured on this server: it needs {family.variable}.", param="model"
        )
    if endpoint not in endpoints_of(model):
        raise InvalidRequest(f"The model '{model}' is not for {endpoint}.", param="model", code="wrong_endpoint")
    return _distinct(Target(lane.tier, lane.queue, settings.catalogue.resolve(model)) for lane in lanes)


def _embedding_fallback(model: str, capacity: Capacity, settings: Settings) -> list[Target]:
    if settings.embeddings_fallback:
        try:
            return _forced(FALLBACK_EMBEDDING, "embeddings", capacity, settings)
        except ModelNotConfigured:
            pass
    raise ModelNotConfigured(
        f"The model '{model}' is not on this server: pull it with `ollama pull {LOCAL_EMBEDDING}`, or set "
        f"OPENAI_API_KEY to fall back to {FALLBACK_EMBEDDING}. GET /v1/models lists what there is.",
        param="model",
    )


def _any_local(model: str, endpoint: Endpoint, lanes: list[Lane], settings: Settings) -> list[Target]:
    able = [(lane, found) for lane in lanes for found in lane.models if endpoint in found.endpoints]
    wanted = settings.auto_local_model if endpoint == "chat" else LOCAL_EMBEDDING
    chosen = [
        Target("local", lane.queue, found.id) for lane, found in able if wanted in {found.id, _untagged(found.id)}
    ]
    if chosen:
        return _distinct(chosen)
    if not able:
        raise Overloaded(
            f"No local model can be reached now, so '{model}' cannot be served.",
            code="no_local_model",
            retry_after_s=RETRY_AFTER_S,
        )
    first = {lane.queue: Target("local", lane.queue, found.id) for lane, found in reversed(able)}
    return _distinct(first.values())


def _untagged(name: str) -> str:
    """Ollama calls a model without a tag `name:latest`, and so may its callers leave that out."""
    return name.removesuffix(":latest")


def _distinct(targets: Iterable[Target]) -> list[Target]:
    """Workers that share an upstream share its queue: one target for them all.

    In random order, so that idle upstreams are used alike; the shortest queue is chosen at admission.
    """
    distinct = list({target.queue: target for target in targets}.values())
    if len(distinct) > 1:
        random.shuffle(distinct)
    return distinct
