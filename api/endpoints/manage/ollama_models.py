"""/ai/models/local: the models of one's own Ollama servers. See shared/models/ollama_operations.py."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec
from quart import request

from api.endpoints.manage import ollama_overview as local_models
from api.endpoints.manage.guard import body_as
from api.endpoints.manage.ollama_catalogue import estimated_minutes, recommended
from api.endpoints.manage.ollama_names import canonical_name
from api.gateway import gateway
from api.http.body import json_response
from api.http.query_names import takes_query
from shared.errors import Conflict, InvalidRequest, NotFound, Overloaded, Unavailable
from shared.models import ollama_operations
from shared.models.ollama_operations import Library, ModelOperation, new_operation

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
    """The model to install, and where: `auto` stands for the recommended model, as does `auto_select`."""

    model: str | None = None
    auto: bool = False
    auto_select: bool = False
    host: str | None = None


async def list_local_models() -> Response:
    """List what is installed, what is on its way, and what could be."""
    libraries = await known_libraries()
    host = request.args.get("host")
    return json_response(local_models.overview(_named(libraries, host) if host else libraries))


async def install_model() -> Response:
    """Install a model: its server pulls it. One that is being pulled or is there is no error."""
    return json_response(await install(await body_as(Installation)), 202)


async def install(wanted: Installation) -> dict[str, Any]:
    """Ask for a model to be installed; return what was chosen, as the API says it.

    Raises:
        GatewayError: it cannot be; the text says why.
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    if (wanted.auto or wanted.auto_select) == (wanted.model is not None):
        raise InvalidRequest('Either {"auto": true} or {"model": "NAME"} must be given.')
    model = None if wanted.model is None else _checked(wanted.model)
    libraries = _reachable(await known_libraries(), wanted.host)
    library = _where_to_install(libraries, model)
    if model is None:
        model = _recommended(library)
    operation = await ollama_operations.ask(_redis(), library.queue, new_operation("install", model))
    if operation is None:
        raise Overloaded(f"Too many models are waiting on {library.host}. Try again.")
    minutes = 0 if local_models.installed(library, model) else estimated_minutes(model)
    return {"model": model, "estimated_minutes": minutes, "host": library.host}


@takes_query("host")
async def remove_model(name: str) -> Response:
    """Remove a model from one host, or from all that have it; a pull of it is stopped. Again is no error."""
    return json_response(await remove(name, request.args.get("host")))


async def remove(name: str, host: str | None) -> dict[str, Any]:
    """Remove a model and wait until that is done; return what was removed, as the API says it.

    Raises:
        GatewayError: it cannot be; the text says why.
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    model = _checked(name)
    libraries = _reachable(await known_libraries(), host)
    removals = await asyncio.gather(*(_ask_to_remove(library, model) for library in libraries))
    deadline = time.monotonic() + REMOVE_WAIT_S
    ended = await asyncio.gather(
        *(_settled(library.queue, operation, deadline) for library, operation in zip(libraries, removals, strict=True))
    )
    removed = [library.host for library, operation in zip(libraries, ended, strict=True) if operation.state == "done"]
    # One host's failure is an error though others removed it: the answer must not read as if it were gone.
    for library, operation in zip(libraries, ended, strict=True):
        if operation.state != "done" and not operation.is_unknown:
            why = operation.error or f"it has not said so within {REMOVE_WAIT_S:g} s, and may still do it"
            raise Unavailable(f"{library.host} did not remove {model}: {why}")
    if not removed:
        raise NotFound(f"There is no model {model} on {', '.join(library.host for library in libraries)}.")
    return {"removed": model, "hosts": removed}


async def known_libraries() -> list[Library]:
    """Return the libraries of the live workers' backends, each once.

    Raises:
        RedisError, OSError, TimeoutError: Redis does not answer (`UNREACHABLE`).
    """
    backends = gateway().capacity.backends("local")
    queues = sorted({backend.queue for backend in backends if backend.provider == "ollama"})
    return await ollama_operations.libraries(_redis(), queues)


def _redis() -> Redis:
    return gateway().redis


def _named(libraries: Sequence[Library], host: str) -> list[Library]:
    found = [library for library in libraries if host in {library.host, library.queue}]
    if not found:
        known = ", ".join(library.host for library in libraries) or "none"
        raise NotFound(f"There is no such host; those with Ollama: {known}.")
    return found


def _reachable(libraries: Sequence[Library], host: str | None) -> list[Library]:
    """Return those that can be asked, of all or of the one that is named."""
    if not libraries:
        backends = list(gateway().capacity.backends("local"))
        raise Overloaded(_OTHER_SERVER if backends else _NO_OLLAMA)
    named = _named(libraries, host) if host else list(libraries)
    found = [library for library in named if library.is_reachable]
    if not found:
        raise Overloaded(f"Ollama does not answer on {', '.join(library.host for library in named)}.")
    return found


def _where_to_install(libraries: Sequence[Library], model: str | None) -> Library:
    """Choose where it is being pulled or stands already, else where the most memory is free."""
    for fits in (local_models.pulling, local_models.installed):
        found = next((library for library in libraries if model is not None and fits(library, model)), None)
        if found is not None:
            return found
    return max(libraries, key=lambda library: local_models.free_ram_gb([library]) or 0.0)


def _recommended(library: Library) -> str:
    free_gb = local_models.free_ram_gb([library])
    best = recommended(free_gb)
    if best is None:
        raise Conflict(f"None of the catalog's models fits into the {free_gb} GB that are free on {library.host}.")
    return canonical_name(best.tag)


def _checked(name: str) -> str:
    if len(name) > MAX_NAME_CHARS:
        raise InvalidRequest(f"A model's name has at most {MAX_NAME_CHARS} characters.")
    try:
        return canonical_name(name)
    except ValueError as error:
        raise InvalidRequest(f"This is {error}.") from None


async def _ask_to_remove(library: Library, model: str) -> ModelOperation:
    last = await ollama_operations.operation_for(_redis(), library.queue, model)
    operation = new_operation("remove", model, may_be_absent=last is not None and _leaves_nothing(last))
    stands = await ollama_operations.ask(_redis(), library.queue, operation)
    if stands is None:
        raise Overloaded(f"Too many models are waiting on {library.host}. Try again.")
    return stands


def _leaves_nothing(last: ModelOperation) -> bool:
    """Return whether this operation may leave nothing to remove: the model was just removed, or only on its way."""
    return last.state == "done" if last.kind == "remove" else not last.is_settled


async def _settled(queue: str, operation: ModelOperation, deadline: float) -> ModelOperation:
    """Return the operation once it is settled, or as it is at the deadline."""
    while time.monotonic() < deadline:
        now = await ollama_operations.operation_for(_redis(), queue, operation.model)
        if now is None or now.id != operation.id:
            return msgspec.structs.replace(operation, state="failed", error="another call came in between")
        if now.is_settled:
            return now
        await asyncio.sleep(POLL_S)
    return operation
