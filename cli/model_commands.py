"""`nself claw models`: the models of one's own Ollama servers, and what models refuse, over the management API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import click
from rich.filesize import decimal

from cli.api_client import ai_url, call
from cli.catalogue_commands import catalogue_group
from cli.cells import seconds
from cli.options import as_json, wide
from cli.pull_watch import explained, follow_pull
from cli.tables import print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Callable

MODELS_PATH: Final = "/ai/models/local"
NO_OLLAMA: Final = "No Ollama server answers: nothing can be installed now."

on_host: Callable[[Any], Any] = click.option(
    "--host", metavar="HOST", help="Which Ollama server, where there are several; `models status` names them."
)


@click.group("models")
def models_group() -> None:
    """List, install and remove models on your own Ollama servers."""


models_group.add_command(catalogue_group)


@models_group.command("list")
@on_host
@wide
@as_json
def list_models(*, host: str | None, wide: bool, as_json: bool) -> None:
    """List the local models: in use, installed, and worth installing."""
    answer = _overview(host)
    if as_json:
        print_json(answer)
        return
    names = {model["model_name"] for model in answer["models"]}
    rows: list[tuple[object, ...]] = []
    if host is None:
        rows += [(name, "in use", None, None, None) for name in _served_elsewhere(names)]
    rows += [_model_row(model) for model in answer["models"]]
    rows += [_catalog_row(entry) for entry in answer["catalog"] if entry["status"] == "available"]
    print_table(("Model", "Status", "Size", "Memory", "Host"), rows, wide=wide)
    if not answer["ollama_reachable"]:
        click.echo(NO_OLLAMA, err=True)


def _served_elsewhere(names: set[str]) -> list[str]:
    """Return the local models of other servers than Ollama: what the gateway uses now, an embedded one too."""
    try:
        listed = call("GET", "/v1/models").get("data", [])
    except click.ClickException:  # NSELF_AI_URL names a server of the /ai calls alone
        return []
    local = {str(model["id"]) for model in listed if model.get("owned_by") == "local"}
    # An Ollama may be asked for a model by its name alone, as well as with its tag.
    return sorted(name for name in local if name not in names and f"{name}:latest" not in names)


@models_group.command("install")
@click.argument("model", required=False)
@click.option("--auto", is_flag=True, help="The strongest model that fits into the free memory.")
@click.option("--no-wait", is_flag=True, help="Return at once; `models status` shows how far it is.")
@on_host
@as_json
def install_model(*, model: str | None, auto: bool, no_wait: bool, host: str | None, as_json: bool) -> None:
    """Install a model and show its progress. Ctrl-C leaves it running."""
    # Neither or both.
    if auto == (model is not None):
        raise click.UsageError("Give either a model or --auto.")
    wanted = {"auto": True} if auto else {"model": model}
    answer = call("POST", f"{MODELS_PATH}/install", url=ai_url(), body={**wanted, **({"host": host} if host else {})})
    if as_json:
        # What was begun: a script asks `models status --json` how far it is.
        print_json(answer)
        return
    name, where = answer["model"], answer["host"]
    minutes = answer["estimated_minutes"]
    click.echo(f"Installing {name} on {where}" + (f", about {minutes} min." if minutes else "."))
    if no_wait:
        click.echo("Follow it with: nself claw models status")
        return
    try:
        size_bytes = follow_pull(lambda: _overview(where), name, where)
    except KeyboardInterrupt:
        click.echo(f"\n{name} is still being installed. Follow it with: nself claw models status", err=True)
        # As a shell counts SIGINT; the server goes on pulling.
        raise SystemExit(130) from None
    click.echo(f"{name} is installed ({decimal(size_bytes)}).")


@models_group.command("status")
@on_host
@as_json
def show_status(*, host: str | None, as_json: bool) -> None:
    """Show the Ollama servers, what is being installed, and what is in memory."""
    answer = _overview(host)
    if as_json:
        print_json(answer)
        return
    if not answer["hosts"]:
        click.echo("No local worker has an Ollama server.")
    for one in answer["hosts"]:
        free = "" if one["free_ram_gb"] is None else f", {one['free_ram_gb']} GB of memory free"
        click.echo(f"{one['host']}: " + (f"Ollama answers{free}" if one["reachable"] else "Ollama does not answer"))
    active = [model for model in answer["models"] if model["status"] != "installed" or model["error"]]
    if active:
        print_table(("Model", "Status", "Progress", "Host"), [_status_row(model) for model in active])
    if answer["hosts"] and not answer["ollama_reachable"]:
        click.echo(NO_OLLAMA)
    elif answer["recommended"]:
        click.echo(f"Recommended for the free memory: {answer['recommended']}")


@models_group.command("remove")
@click.argument("model")
@on_host
@as_json
def remove_model(*, model: str, host: str | None, as_json: bool) -> None:
    """Remove a model; one that is being installed is stopped."""
    # Slashes and colons are parts of a model's name and of the URL's last part alike.
    path = f"{MODELS_PATH}/remove/{quote(model, safe='/:')}"
    answer = call("DELETE", path, url=ai_url(), query={"host": host} if host else None)
    if as_json:
        print_json(answer)
        return
    click.echo(f"{answer['removed']} is removed from {', '.join(answer['hosts'])}.")


@models_group.command("unsupported")
@as_json
def show_unsupported(*, as_json: bool) -> None:
    """Show what models of any tier have lately refused, and so are not asked for during an hour."""
    answer = call("GET", "/claw/v1/models/unsupported")
    if as_json:
        print_json(answer)
        return
    columns = ("tier", "backend", "model", "parameter")
    rows = [(*(one[column] for column in columns), seconds(one["until"])) for one in answer["data"]]
    if rows:
        print_table(("Tier", "Backend", "Model", "Parameter", "Until"), rows)
    else:
        click.echo("No model has lately refused a parameter.")


def _overview(host: str | None) -> dict[str, Any]:
    return call("GET", MODELS_PATH, url=ai_url(), query={"host": host} if host else None)


def _model_row(model: dict[str, Any]) -> tuple[object, ...]:
    return (model["model_name"], _status(model), decimal(model["size_bytes"]), None, model["host"])


def _catalog_row(entry: dict[str, Any]) -> tuple[object, ...]:
    status = "recommended" if entry["recommended"] else "available"
    size, memory = decimal(int(entry["download_gb"] * 1e9)), f"{entry['ram_gb_required']} GB"
    return (entry["ollama_tag"], status, size, memory, None)


def _status_row(model: dict[str, Any]) -> tuple[object, ...]:
    if model["status"] == "pulling":
        done = f"{decimal(model['completed_bytes'])} of {decimal(model['total_bytes'])}, {model['detail']}"
        return (model["model_name"], _status(model), done, model["host"])
    return (model["model_name"], _status(model), model["error"] and explained(model["error"]), model["host"])


def _status(model: dict[str, Any]) -> str:
    return f"pulling {model['percent']} %" if model["status"] == "pulling" else str(model["status"])
