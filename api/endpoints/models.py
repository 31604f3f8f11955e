"""GET /v1/models and /v1/models/{id}: what can be served now, from the live workers' announcements.

/claw/v1/offered-models: what their upstreams list besides.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from api.endpoints.answer import authenticated_context
from api.endpoints.manage.guard import flag_argument
from api.gateway import Gateway, gateway
from api.http.body import json_response
from api.routing.eligibility import RoutingRequest
from api.routing.key_bounds import NO_KEY_BOUNDS
from shared.errors import GatewayError, UnknownModel
from shared.models.catalogue import AUTO, LOCAL, is_served_by

if TYPE_CHECKING:
    from collections.abc import Collection

    from quart import Response

    from api.routing.key_bounds import KeyBounds
    from api.routing.live_backends import Capacity
    from shared.models.catalogue import Catalogue


async def list_models() -> Response:
    """Serve OpenAI's listModels; with `?unavailable=true` the names too that are known and cannot be served, and why.

    Not without: clients offer their users what is listed.
    """
    context = await authenticated_context("models")
    with context.refusals():
        wants_all = flag_argument("unavailable")
    context.answered()
    listed = servable_now(context.principal.bounds)
    missing = _unavailable(gateway(), listed, context.principal.bounds) if wants_all else []
    return json_response({"object": "list", "data": [*listed.values(), *missing]})


async def retrieve_model(model: str) -> Response:
    """Serve OpenAI's retrieveModel. Names may hold slashes and colons."""
    context = await authenticated_context("models", model)
    found = servable_now(context.principal.bounds).get(model)
    if found is None:
        error = UnknownModel(f"The model '{model}' does not exist or cannot be served now.", param="model")
        context.refuse(error)
        raise error
    context.answered()
    return json_response(found)


async def list_offered() -> Response:
    """Serve what APIs of others list now, also what has no price and so is refused: `models catalogue check` asks."""
    offered = {
        model.id: {"id": model.id, "provider": backend.provider, "shutdown_date": model.shutdown or None}
        for backend in gateway().capacity.backends()
        if backend.tier != "local"
        for model in backend.models
        if is_served_by(model.id, backend.provider)
    }
    return json_response({"offered": [offered[name] for name in sorted(offered)]})


def _unavailable(parts: Gateway, listed: Collection[str], bounds: KeyBounds) -> list[dict[str, Any]]:
    """Return `auto`, `local` and the aliases that cannot be served now, each with what a request would be told."""
    found = []
    for name in (AUTO, LOCAL, *parts.settings.catalogue.aliases):
        if name in listed:
            continue
        try:
            parts.router.route(RoutingRequest(model=name, endpoint="chat", prompt_tokens=1, bounds=bounds))
        except GatewayError as error:
            found.append({**_model(name, 0, "nself"), "available": False, "reason": error.message})
    return found


def servable_now(bounds: KeyBounds) -> dict[str, dict[str, Any]]:
    """Return by name what a key may ask for now, as OpenAI lists it."""
    parts = gateway()
    return _servable(parts.capacity, parts.settings.catalogue, bounds)


def _servable(capacity: Capacity, catalogue: Catalogue, bounds: KeyBounds) -> dict[str, dict[str, Any]]:
    """Return by name `auto` and `local`, the models of live workers, and the aliases that lead to any of these.

    Only what a key may ask for: names that lead to nothing for it are left out.
    """
    offers = [(backend, model) for backend in capacity.backends() for model in backend.models]
    chatting = {backend.tier for backend, model in offers if "chat" in model.endpoints}
    newest = max((model.created for _, model in offers), default=0)
    listed = {AUTO: _model(AUTO, newest, "nself")} if chatting else {}
    if "local" in chatting:
        listed[LOCAL] = _model(LOCAL, newest, "nself")
    for backend, model in offers:
        # A local model's name wins over an API's, as it does in routing.
        if backend.tier == "local":
            listed[model.id] = _model(model.id, model.created, "local")
        elif is_served_by(model.id, backend.provider) and (backend.tier == "gemini" or catalogue.has_price(model.id)):
            shutdown = model.shutdown or str(catalogue.entry(model.id).shutdown or "")
            listed.setdefault(model.id, _model(model.id, model.created, backend.provider, shutdown))
    listed |= {
        name: {**listed[model], "id": name}
        for name, model in catalogue.aliases.items()
        if model in listed and name not in listed
    }
    if bounds is NO_KEY_BOUNDS:
        return listed
    servers = [(backend.tier, model.id) for backend, model in offers if "chat" in model.endpoints]
    leads_to = defaultdict(list, {AUTO: servers, LOCAL: [found for found in servers if found[0] == "local"]})
    for backend, model in offers:
        leads_to[model.id].append((backend.tier, model.id))
    return {
        name: shown
        for name, shown in listed.items()
        if any(
            bounds.refusal(name, tier, model) is None
            for tier, model in leads_to[name] or leads_to[catalogue.aliases.get(name, name)]
        )
    }


def _model(name: str, created: int, owner: str, shutdown: str = "") -> dict[str, Any]:
    """Return a model as OpenAI lists it, with the day on which its maker ends it where that is known."""
    known = {"shutdown_date": shutdown} if shutdown else {}
    return {"id": name, "object": "model", "created": created, "owned_by": owner, **known}
