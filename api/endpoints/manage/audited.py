"""Every change by the management API stands in the audit log, whichever endpoint makes it."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from quart import Response, g, request

from api.endpoints.keys.admins import actor
from api.gateway import gateway
from api.http.errors import plain_error
from shared.errors import Overloaded
from shared.postgres.audit import AuditLog
from shared.postgres.database import DatabaseUnavailable
from shared.postgres.transaction import begun

if TYPE_CHECKING:
    Handler = Callable[..., Awaitable[Response]]
    _Entry = tuple[str, dict[str, Any]]

_log = logging.getLogger(__name__)

_KEPT: Final = frozenset({
    "id", "name", "account_email", "project", "model", "host", "task_class", "source_tier", "system_prompt_id",
    "allowed_models", "allowed_tiers", "expires_at", "chunk_id", "category", "hash", "session_id", "message_id",
    "backend",
})  # fmt: skip
"""Fields whose texts are kept. Of others only numbers, yes and no are: a text may be a secret, or a prompt."""
_MOST_CHARS: Final = 200
_MOST_ITEMS: Final = 100
_tasks: set[asyncio.Task[Response]] = set()


class _RefusedByHandler(Exception):
    """A handler returned a refusal: what it did until then is undone."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


class AuditedAs(NamedTuple):
    """The actor of a change, as the audit log names it, and the form in which errors are answered."""

    actor: Callable[[], str]
    answer: Callable[[Exception], Awaitable[Response]]


async def _plain_answer(error: Exception) -> Response:
    return plain_error(error)


BY_TOKEN: Final = AuditedAs(actor, _plain_answer)
"""The management API's way."""


def audited(handler: Handler, way: AuditedAs = BY_TOKEN) -> Handler:
    """Return a handler of a change that leaves an entry in the audit log, with its own name as the operation.

    Nothing is changed while no entry could be added; in PostgreSQL a change stands with its entry or not at all. What
    the caller got wrong (4xx) has changed nothing, and leaves none.
    """

    @functools.wraps(handler)
    async def run(**arguments: Any) -> Response:
        # Before: some changes are in Redis or at an Ollama, where no transaction undoes them.
        await AuditLog(gateway().database).check()
        # A client that leaves must not come between a change and its entry.
        task = asyncio.get_running_loop().create_task(_change(handler, arguments, way))
        _tasks.add(task)  # asyncio itself keeps no reference that holds it
        task.add_done_callback(_tasks.discard)
        return await asyncio.shield(task)

    return run


async def _change(handler: Handler, arguments: dict[str, Any], way: AuditedAs) -> Response:
    """Carry out a change and add its entry, in PostgreSQL as one transaction; what is elsewhere cannot be in it."""
    entry: _Entry | None = None
    is_added = False
    try:
        async with begun(gateway().database) as transaction:
            response = await handler(**arguments)
            if 400 <= response.status_code < 500:
                raise _RefusedByHandler(response)
            # Before the entry, which is a statement itself.
            is_undone = transaction.has_begun
            entry = await _entry(handler, arguments, response)
            await _add(way, entry)
            is_added = True
    except _RefusedByHandler as refused:
        return refused.response
    except Exception as error:  # noqa: BLE001 -- also a change that failed half way has an entry
        response = await way.answer(error)
        if entry is None:
            return await _failed(handler, arguments, response, way)
        # News of a change that nobody heard, or an end that nobody knows: both are to be tried again.
        if is_added or not isinstance(error, DatabaseUnavailable):
            return response
        if is_undone:
            return await _without_log(
                way,
                f"{request.method} {request.path} changed nothing in the database: the audit log cannot be written.",
            )
        return await _lacks(way, entry)
    return response


async def _failed(handler: Handler, arguments: dict[str, Any], response: Response, way: AuditedAs) -> Response:
    """Add the entry of a change that failed: in PostgreSQL nothing of it is left, elsewhere something may be."""
    if response.status_code >= 500:
        entry = await _entry(handler, arguments, response)
        try:
            await _add(way, entry)
        except DatabaseUnavailable:
            _log.exception("the audit log lacks a change that failed: %s %s", *entry)
    return response


async def _entry(handler: Handler, arguments: dict[str, Any], response: Response) -> _Entry:
    details = {
        "request_id": g.get("request_id", ""),
        "status": response.status_code,
        **{name: _bounded(value) for name, value in arguments.items()},
        "asked": _kept(g.get("change")),
        "made": _made(await response.get_data()),
    }
    return handler.__name__, details


async def _add(way: AuditedAs, entry: _Entry) -> None:
    operation, details = entry
    await AuditLog(gateway().database).add(operation, way.actor(), details)


async def _lacks(way: AuditedAs, entry: _Entry) -> Response:
    _log.exception("the audit log lacks a change that was made: %s %s", *entry)
    text = f"{request.method} {request.path} was carried out, but the audit log could not be written."
    return await _without_log(way, text)


async def _without_log(way: AuditedAs, text: str) -> Response:
    return await way.answer(Overloaded(text, code="database_unavailable", retry_after_s=2))


def _kept(body: Any) -> Any:
    """Return what is kept of a request's body."""
    if isinstance(body, list):
        return [_kept(each) for each in body]
    if not isinstance(body, dict):
        return None
    return {
        name: _bounded(value) if name in _KEPT or not isinstance(value, str | dict | list) else "(not kept)"
        for name, value in body.items()
    }


def _made(body: str | bytes) -> str | None:
    """Return the id in a response, by which what was made is found."""
    if "made" in g:
        return str(g.made)
    try:
        found = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None
    made = found.get("id") if isinstance(found, dict) else None
    return made if isinstance(made, str) else None


def _bounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_bounded(each) for each in value[:_MOST_ITEMS]]
    if isinstance(value, dict):
        return "(not kept)"
    return value[:_MOST_CHARS] if isinstance(value, str) else value
