"""`nself claw chat`: one question, or a conversation."""

from __future__ import annotations

import io
import sys
from typing import Final, Self

import click
import msgspec
from rich.console import Console
from rich.text import Text

from cli.api_client import gateway_url, internal_headers, settings
from cli.chat.answer import Answer, answered
from cli.chat.loop import Chat, new_session_id
from cli.chat.memory import ChatMemory
from cli.chat.screen import new_screen
from cli.chat.stream import Connection, Question
from cli.operator.sessions import session_id_from
from cli.options import ASK, Meaningless, as_json, secret_from
from cli.tables import print_json

_TIERS: Final = {"local": "local", "gemini": "gemini", "paid": "paid", "free_gemini": "gemini", "api_key": "paid"}
_MOST_CHARACTERS: Final = 8_000_000
_SOURCES: Final = {"local": "local", "gemini": "free_gemini", "paid": "api_key"}
INTERRUPTED: Final = 130  # as shells count SIGINT: 128 and its number


@click.command("chat")
@click.argument("question", required=False)
@click.option("--session", type=session_id_from, metavar="ID", help="Continue it; an id that is nobody's begins one.")
@click.option("--resume", is_flag=True, help="Continue the last session of this machine.")
@click.option("--model", default="auto", show_default=True, metavar="NAME", help="Whom to ask.")
@click.option("--tier", type=click.Choice([*_TIERS]), help="Only models of this tier.")
@click.option("--url", help="The gateway's, with or without /v1.")
@click.option(
    "--key",
    "given",
    metavar="-|KEY",
    help="The gateway key to use; - asks for it. Without it NSELF_CLAW_KEY or NSELF_CLAW_API_KEY, else the internal "
    "token.",
)
@click.option("--plain", is_flag=True, help="Show answers as they are written, not as Markdown.")
@as_json
def chat(
    *,
    question: str | None,
    session: str | None,
    resume: bool,
    model: str,
    tier: str | None,
    url: str | None,
    given: str | None,
    plain: bool,
    as_json: bool,
) -> None:
    """Chat with a model; with a QUESTION (- reads it from standard input) ask that alone.

    A single question is not stored, unless it continues a session.
    """
    if session and resume:
        raise click.UsageError("--session and --resume exclude each other.")
    connection = _connection(url, given)
    memory = ChatMemory(settings().data_dir)
    session_id = memory.last_session(connection.url) if resume else session
    if resume and session_id is None:
        raise Meaningless("There is no session to resume yet; nself claw sessions list shows those of the gateway.")
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A model may say what the terminal's encoding has not.
        sys.stdout.reconfigure(errors="replace")
    typed = Question(question or "", model, _TIERS[tier] if tier else None, session_id)
    console = Console(highlight=False)
    if question is not None or not sys.stdin.isatty():
        text = question if question not in {None, ASK} else _piped()
        _ask_once(connection, msgspec.structs.replace(typed, text=text), console, is_plain=plain, as_json=as_json)
        return
    if as_json:
        raise click.UsageError("--json needs a QUESTION.")
    conversation = msgspec.structs.replace(typed, session_id=session_id or new_session_id())
    Chat(connection, conversation, console, memory, is_plain=plain).run()


def _connection(url: str | None, given: str | None) -> Connection:
    secret = settings().cli_key if given is None else secret_from(given, "Gateway key")
    headers = {"authorization": f"Bearer {secret}"} if secret else internal_headers()
    return Connection(gateway_url(url), headers, url)


def _piped() -> str:
    text = sys.stdin.read(_MOST_CHARACTERS + 1)  # one more tells that there are too many
    if len(text) > _MOST_CHARACTERS:
        raise Meaningless(f"A question has at most {_MOST_CHARACTERS:,} characters.")
    return text.rstrip("\n")


def _ask_once(connection: Connection, question: Question, console: Console, *, is_plain: bool, as_json: bool) -> None:
    if not question.text.strip():
        raise Meaningless("The question is empty.")
    screen = _Silent() if as_json else new_screen(console, is_plain=is_plain)
    answer = answered(connection, question, screen)
    if as_json and not answer.error and not answer.is_stopped:
        print_json(_to_json(answer, question))
    elif console.is_terminal and (answer.text or not answer.error):
        console.print(Text(f"({answer.summary})", "dim"), soft_wrap=True)
    if answer.error:
        raise click.ClickException(answer.error)
    if answer.is_stopped:
        sys.exit(INTERRUPTED)


def _to_json(answer: Answer, question: Question) -> dict[str, object]:
    return {
        "response": answer.text,
        "model": answer.model,
        "tier": answer.tier,
        "tier_source": _SOURCES.get(answer.tier, ""),
        "finish_reason": answer.finish_reason,
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "latency_ms": round(answer.duration_s * 1000),
        "session_id": question.session_id,
    }


class _Silent:
    """A screen that shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Do nothing."""

    def waits(self, what: str) -> None:
        """Do nothing."""

    def add(self, text: str) -> None:
        """Do nothing."""

    def refresh(self) -> None:
        """Do nothing."""
