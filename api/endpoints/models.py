"""GET /v1/models and /v1/models/{id}: what can be served now, from the live workers' announcements."""

from __future__ import annotations

from typing import Any

import msgspec
from quart import Blueprint, Response, current_app, g, request

from api.admission.auth import Principal
from api.gateway import Gateway
from api.requests.context import Call
from shared.errors import UnknownModel
from shared.models.catalogue import AUTO, LOCAL, is_served_by

models_blueprint = Blueprint("models", __name__)


@models_blueprint.get("/v1/models")
async def list_models() -> Response:
    """OpenAI's listModels."""
    gateway, principal = await _caller()
    Call(gateway, principal, "models", g.request_id).answered()
    return _json({"object": "list", "data": list(_servable(gateway).values())})


@models_blueprint.get("/v1/models/<path:model>")
async def retrieve_model(model: str) -> Response:
    """OpenAI's retrieveModel. Names may hold slashes and colons."""
    gateway, principal = await _caller()
    call = Call(gateway, principal, "models", g.request_id, model)
    found = _servable(gateway).get(model)
    if found is None:
        error = UnknownModel(f"The model '{model}' does not exist or cannot be served now.", param="model")
        call.refuse(error)
        raise error
    call.answered()
    return _json(found)


async def _caller() -> tuple[Gateway, Principal]:
    gateway: Gateway = current_app.extensions["claw"]
    return gateway, await gateway.authenticator.authenticate(request.headers)


def _servable(gateway: Gateway) -> dict[str, dict[str, Any]]:
    """By name: `auto` and `local`, the models of live workers, and the aliases that lead to any of these."""
    offers = [(backend, model) for backend in gateway.capacity.backends() for model in backend.models]
    chatting = {backend.tier for backend, model in offers if "chat" in model.endpoints}
    newest = max((model.created for _, model in offers), default=0)
    listed = {AUTO: _model(AUTO, newest, "nself")} if chatting else {}
    if "local" in chatting:
        listed[LOCAL] = _model(LOCAL, newest, "nself")
    for backend, model in offers:
        if backend.tier == "local":
            listed[model.id] = _model(model.id, model.created, "local")
        elif is_served_by(model.id, backend.provider):
            listed.setdefault(model.id, _model(model.id, model.created, backend.provider))
    aliases = gateway.settings.catalogue.aliases
    return listed | {
        name: {**listed[model], "id": name} for name, model in aliases.items() if model in listed and name not in listed
    }


def _model(name: str, created: int, owner: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": owner}


def _json(body: dict[str, Any]) -> Response:
    return Response(msgspec.json.encode(body), content_type="application/json")
