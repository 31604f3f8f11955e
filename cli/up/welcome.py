"""The welcome of a user once the gateway runs: a first answer, a first key, and what to do with it."""

from __future__ import annotations

import json
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, NamedTuple

from cli.up.gateway import GatewayCallFailed
from cli.web_ui.password import new_password
from cli.word_wrap import WordWrap

if TYPE_CHECKING:
    from cli.up.gateway import GatewayClient
    from cli.up.terminal import Terminal
    from shared.settings import Settings

_PLACEHOLDER_KEY: Final = "sk-nself-YOUR-KEY"


class FirstQuestion(NamedTuple):
    """The model that gives the first answer (empty: none can), and what keeps the local one from it."""

    model: str
    why_not_local: str = ""


async def welcome(
    gateway: GatewayClient, settings: Settings, terminal: Terminal, first_question: FirstQuestion
) -> None:
    """Show the first answer, the first key and how to use them.

    Args:
        gateway: healthy.
        settings: for the base URL.
        terminal: where to.
        first_question: who gives the first answer.
    """
    if not first_question.model:
        terminal.warn(f"First answer skipped: {first_question.why_not_local}")
    else:
        if first_question.why_not_local:
            terminal.warn(f"Asking {first_question.model}: {first_question.why_not_local}")
        await _show_first_answer(gateway, terminal, first_question.model)
    key = await _show_first_key(gateway, terminal)
    terminal.notice(f"\nBase URL: {settings.public_url}", "bold")
    terminal.notice("Try it:\n")
    terminal.notice(_curl_command(settings.public_url, key or _PLACEHOLDER_KEY))
    if settings.ui:
        await _show_web_ui(gateway, settings, terminal)
    terminal.notice("\nCtrl-C stops everything.")


async def _show_first_answer(gateway: GatewayClient, terminal: Terminal, model: str) -> None:
    terminal.notice(f"\n> {gateway.question}", "bold")
    started = time.monotonic()
    first_at: float | None = None
    pieces_shown = 0
    wrap = WordWrap(terminal.width)
    try:
        # A generator that Ctrl-C leaves in the middle keeps its connection until it is collected: closed at once.
        async with aclosing(gateway.first_answer(model)) as pieces:
            async for piece in pieces:
                first_at = first_at or time.monotonic()
                pieces_shown += 1
                terminal.token(wrap.feed(piece))
            terminal.token(wrap.end())
    except GatewayCallFailed as error:
        terminal.error(f"\nThe first answer failed: {error}")
        return
    terminal.notice(f"\n(model {model}{_speed(started, first_at, time.monotonic(), pieces_shown)})\n", "dim")


def _speed(started: float, first_at: float | None, ended: float, pieces: int) -> str:
    """Describe how fast an answer came, as far as so few tokens show it. Times are monotonic, in seconds."""
    if first_at is None:
        return ""
    after_first_s = ended - first_at
    rate = f"; about {(pieces - 1) / after_first_s:.0f} tokens/s" if pieces > 1 and after_first_s > 0 else ""
    return f"; first token after {first_at - started:.2f} s{rate}"


async def _show_first_key(gateway: GatewayClient, terminal: Terminal) -> str | None:
    try:
        key = await gateway.create_first_key()
    except GatewayCallFailed as error:
        terminal.error(f"No API key could be made: {error}")
        return None
    if key is None:
        terminal.notice("Existing API keys stay valid; `nself claw api keys create --name NAME` makes a new one.")
    else:
        terminal.notice(f"API key: {key}", "bold green")
        terminal.notice("It will not be shown again.")
    return key


async def _show_web_ui(gateway: GatewayClient, settings: Settings, terminal: Terminal) -> None:
    password = new_password()
    try:
        is_new = await gateway.set_first_password(password)
    except GatewayCallFailed as error:
        terminal.error(f"No password for the web UI could be made: {error}")
        is_new = False
    terminal.notice(f"\nWeb UI: {settings.public_url.removesuffix('/v1')}/ui", "bold")
    if is_new:
        terminal.notice(f"Password: {password}", "bold green")
        terminal.notice("It is shown this once; `nself claw ui password` makes another.")


def _curl_command(base_url: str, key: str) -> str:
    body = {"model": "auto", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
    return (
        f"curl -N {base_url}/chat/completions \\\n"
        f'  -H "Authorization: Bearer {key}" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        f"  -d '{json.dumps(body, separators=(',', ':'))}'"
    )
