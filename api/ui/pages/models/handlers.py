"""The page of models and tiers: what is served, the order of tiers, Ollama's models, Gemini's accounts, the budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quart import Response, g, request

from api.endpoints.manage import gemini_accounts, ollama_models, ollama_overview
from api.gateway import gateway
from api.routing.rules import WrongRules
from api.ui import flash
from api.ui.forms import form
from api.ui.links import url
from api.ui.navigation import MODELS
from api.ui.pages.models.order import TIER_TITLES, TITLES, changes_of, ordered
from api.ui.pages.models.prices import prices
from api.ui.pages.models.served import served
from api.ui.render import render, see_other
from shared.errors import GatewayError
from shared.postgres.database import DatabaseUnavailable
from shared.redis.client import UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from api.endpoints.manage.ollama_models import Installation

MOST_KEYS = 8


async def show_models() -> Response:
    """Show what is served, and what can be changed of it."""
    return await _page()


async def show_library() -> Response:
    """Show Ollama's part of the page alone, for the script that follows a download."""
    return await render("models/library_alone.html", library=await _or_none(_library))


async def change_order() -> Response:
    """Change the order of tiers for a class of tasks."""
    changes = changes_of(form())
    g.change = [{"task_class": each.task_class, "source_tier": each.source_tier} for each in changes]
    try:
        await gateway().routing_table.change(changes)
    except WrongRules as error:
        # Without the place in JSON: a form has none.
        return await _refused(str(error).partition(" - at ")[0] + ".", 400)
    flash.add("The order is changed: the next request follows it.")
    return see_other(url("models") + "#order")


async def install_model() -> Response:
    """Let an Ollama server pull a model."""
    name, host = form().get("model", "").strip(), form().get("host") or None
    g.change = {"model": name, "host": host}
    try:
        made = await ollama_models.install(_wanted(name, host))
    except GatewayError as error:
        return await _refused(error.message, error.status)
    minutes = made["estimated_minutes"]
    about = f", which takes about {minutes} minutes on a usual line" if minutes else ""
    flash.add(f"{made['model']} is being pulled on {made['host']}{about}.")
    return see_other(url("models") + "#ollama")


async def remove_model() -> Response:
    """Remove a model from an Ollama server, or stop its download."""
    name, host = form().get("model", ""), form().get("host") or None
    g.change = {"model": name, "host": host}
    try:
        removed = await ollama_models.remove(name, host)
    except GatewayError as error:
        return await _refused(error.message, error.status)
    flash.add(f"{removed['removed']} was removed from {', '.join(removed['hosts'])}.")
    return see_other(url("models") + "#ollama")


async def show_prices() -> Response:
    """Show what models cost by the catalogue."""
    wanted = request.args.get("q", "").strip()
    state = gateway()
    found = prices(state.settings.catalogue, state.capacity.models("paid"), wanted)
    return await render("models/prices.html", MODELS, prices=found, wanted=wanted)


def _wanted(name: str, host: str | None) -> Installation:
    return ollama_models.Installation(model=name or None, auto=not name, host=host)


async def _refused(text: str, status: int) -> Response:
    """Show the page, with what was wrong at its head."""
    flash.add(text, "failed")
    return await _page(status)


async def _page(status: int = 200) -> Response:
    state = gateway()
    await _or_none(state.capacity.refresh)
    return await render(
        "models/models.html",
        MODELS,
        status=status,
        served=served(state.capacity.by_worker()),
        catalogue=state.settings.catalogue,
        order=await _or_none(_order),
        tiers=TIER_TITLES,
        titles=TITLES,
        library=await _or_none(_library),
        accounts=await _or_none(gemini_accounts.all_accounts),
        budget=await _or_none(state.budget.state),
        most_keys=MOST_KEYS,
    )


async def _order() -> dict[str, Any]:
    return ordered(await gateway().routing_table.rules())


async def _library() -> dict[str, Any]:
    libraries = await ollama_models.known_libraries()
    return ollama_overview.overview(libraries) | {"has_other": any(True for _ in gateway().capacity.backends("local"))}


async def _or_none(read: Callable[[], Awaitable[Any]]) -> Any:
    """Return what is read; None while the server that has it does not answer: the rest of the page is shown."""
    try:
        return await read()
    except (DatabaseUnavailable, *UNREACHABLE):
        return None
