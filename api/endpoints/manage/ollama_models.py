"""/ai/models/local: the models of one's own Ollama servers. See shared/models/ollama_operations.py."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import msgspec
from quart import request

from api.endpoints.manage import ollama_overview as local_models
from api.endpoints.manage.guard import body_as
from api.endpoints.manage.ollama_catalogue import estimated_minutes, recommended
from api.endpoints.manage.ollama_names import canonical_name
from api.gateway import gateway
from api.http.body import json_response
from shared.errors import Conflict, InvalidRequest, NotFound, Overloaded, Unavailable
from shared.models import ollama_operations as model_store
from shared.models.ollama_operations import Store, Wish, new_wish

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quart import Response
    from redis.asyncio import Redis


REMOVE_WAIT_S: Final = 10.0
POLL_S: Final = 0.1
MAX_NAME_CHARS: Final = 512
_NO_OLLAMA: Final = (
    "No local worker has an Ollama server, and models are installed with Ollama: "
    "set PLUGIN_OLLAMA_URL, or start Ollama before the gateway."
)
_OTHER_SERVER: Final = (
    "The local tier runs on a server that is not Ollama (the embedded model, or CLAW_LOCAL_OPENAI_URL), and models "
    "are installed with Ollama: start one and set PLUGIN_OLLAMA_URL."
)


class Installation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What shall be installed, and where: `auto` stands for the recommended model."""

    model: str | None = None
    auto: bool = False
    host: str | None = None


async def list_local_models() -> Response:
    """List what is installed, what is on its way, and what could be."""
    stores = await _stores()
    host = request.args.get("host")
    return json_response(local_models.overview(_named(stores, host) if host else stores))


async def install_model() -> Response:
    """Have a model pulled. One that is being pulled or is there is no error."""
    wanted = await body_as(Installation)
    if wanted.auto == (wanted.model is not None):
        raise InvalidRequest('Either {"auto": true} or {"model": "NAME"} must be given.')
    model = None if wanted.model is None else _checked(wanted.model)
    stores = _reachable(await _stores(), wanted.host)
    store = _where_to_install(stores, model)
    if model is None:
        model = _recommended(store)
    wish = await model_store.ask(_redis(), store.queue, new_wish("install", model))
    if wish is None:
        raise Overloaded(f"Too many models are waiting on {store.host}. Try again.")
    minutes = 0 if local_models.installed(store, model) else estimated_minutes(model)
    return json_response({"model": model, "estimated_minutes": minutes, "host": store.host}, 202)


async def remove_model(name: str) -> Response:
    """Remove a model from one host, or from all that have it; a pull of it is stopped. Again is no error."""
    model = _checked(name)
    stores = _reachable(await _stores(), request.args.get("host"))
    asked = await asyncio.gather(*(_ask_to_remove(store, model) for store in stores))
    deadline = time.monotonic() + REMOVE_WAIT_S
    ended = await asyncio.gather(
        *(_settled(store.queue, wish, deadline) for store, wish in zip(stores, asked, strict=True))
    )
    removed = [store.host for store, wish in zip(stores, ended, strict=True) if wish.state == "done"]
    for store, wish in zip(stores, ended, strict=True):
        if wish.state != "done" and not wish.is_unknown:
            why = wish.error or f"it has not said so within {REMOVE_WAIT_S:g} s, and may still do it"
            raise Unavailable(f"{store.host} did not remove {model}: {why}")
    if not removed:
        raise NotFound(f"There is no model {model} on {', '.join(store.host for store in stores)}.")
    return json_response({"removed": model, "hosts": removed})


async def _stores() -> list[Store]:
    """Return those of the live workers' backends, each once."""
    backends = gateway().capacity.backends("local")
    queues = sorted({backend.queue for backend in backends if backend.provider == "ollama"})
    return await model_store.stores(_redis(), queues)


def _redis() -> Redis:
    return gateway().redis


def _named(stores: Sequence[Store], host: str) -> list[Store]:
    found = [store for store in stores if host in {store.host, store.queue}]
    if not found:
        known = ", ".join(store.host for store in stores) or "none"
        raise NotFound(f"There is no such host; those with Ollama: {known}.")
    return found


def _reachable(stores: Sequence[Store], host: str | None) -> list[Store]:
    """Return those that can be asked, of all or of the one that is named."""
    if not stores:
        backends = list(gateway().capacity.backends("local"))
        raise Overloaded(_OTHER_SERVER if backends else _NO_OLLAMA)
    named = _named(stores, host) if host else list(stores)
    found = [store for store in named if store.is_reachable]
    if not found:
        raise Overloaded(f"Ollama does not answer on {', '.join(store.host for store in named)}.")
    return found


def _where_to_install(stores: Sequence[Store], model: str | None) -> Store:
    """Choose where it is being pulled or stands already, else where the most memory is free."""
    for fits in (local_models.pulling, local_models.installed):
        found = next((store for store in stores if model is not None and fits(store, model)), None)
        if found is not None:
            return found
    return max(stores, key=lambda store: local_models.free_ram_gb([store]) or 0.0)


def _recommended(store: Store) -> str:
    free_gb = local_models.free_ram_gb([store])
    best = recommended(free_gb)
    if best is None:
        raise Conflict(f"None of the catalog's models fits into the {free_gb} GB that are free on {store.host}.")
    return canonical_name(best.tag)


def _checked(name: str) -> str:
    if len(name) > MAX_NAME_CHARS:
        raise InvalidRequest(f"A model's name has at most {MAX_NAME_CHARS} characters.")
    try:
        return canonical_name(name)
    except ValueError as error:
        raise InvalidRequest(f"This is {error}.") from None


async def _ask_to_remove(store: Store, model: str) -> Wish:
    last = await model_store.wish_for(_redis(), store.queue, model)
    wish = new_wish("remove", model, may_be_absent=last is not None and _leaves_nothing(last))
    stands = await model_store.ask(_redis(), store.queue, wish)
    if stands is None:
        raise Overloaded(f"Too many models are waiting on {store.host}. Try again.")
    return stands


def _leaves_nothing(last: Wish) -> bool:
    """Tell whether, after this wish, there may be nothing to remove: it was just removed, or was only on its way."""
    return last.state == "done" if last.kind == "remove" else not last.is_settled


async def _settled(queue: str, wish: Wish, deadline: float) -> Wish:
    """Return the wish once it is settled, or as it is at the deadline."""
    while time.monotonic() < deadline:
        now = await model_store.wish_for(_redis(), queue, wish.model)
        if now is None or now.id != wish.id:
            return msgspec.structs.replace(wish, state="failed", error="another call came in between")
        if now.is_settled:
            return now
        await asyncio.sleep(POLL_S)
    return wish
