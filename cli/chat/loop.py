"""The conversation at a terminal: messages and commands in turn, until its user leaves."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from uuid import UUID

import click
import msgspec
from rich.text import Text

from cli.chat.answer import answered
from cli.chat.screen import new_screen
from cli.chat.typed import read_message, to_command
from cli.operator.sessions import change_title, print_sessions, session_id_from
from shared.ids import new_request_id

try:
    import readline
except ImportError:  # a Python without it: lines cannot be edited then
    readline = None  # type: ignore[assignment]  # Pythons without it

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from cli.chat.memory import ChatMemory
    from cli.chat.stream import Connection, Question

_LISTED: Final = 20


class _Left(Exception):
    """Whoever chats wants no more."""


class Chat:
    """A conversation.

    Args:
        connection: to the gateway.
        question: what every question is made from: model, tier, session.
        console: the terminal.
        memory: what is kept of it here.
        is_plain: whether answers are shown as they are written.
    """

    def __init__(
        self, connection: Connection, question: Question, console: Console, memory: ChatMemory, *, is_plain: bool
    ) -> None:
        self._connection = connection
        self._question = question
        self._console = console
        self._memory = memory
        self._is_plain = is_plain
        self._has_begun = False
        self._commands: dict[str, tuple[str, Callable[[str], None]]] = {
            "new": ("begin another session", self._begin),
            "session": ("ID: continue that session", self._continue),
            "sessions": ("list the last sessions", self._list),
            "title": ("TEXT: give this session a title", self._name),
            "model": ("NAME: ask another model from now on", self._choose),
            "help": ("show this", self._help),
            "quit": ("leave; so does Ctrl-C on an empty line, and Ctrl-D", self._leave),
        }

    def run(self) -> None:
        """Read and answer messages until Ctrl-C or Ctrl-D at an empty prompt, or /quit."""
        self._note(f"Session {self._question.session_id}. /help lists the commands; Ctrl-C stops an answer.")
        if readline is not None:
            self._memory.recall_lines(readline)
        with suppress(_Left):
            while True:
                self._turn()
        if readline is not None:
            self._memory.keep_lines(readline)
        if self._has_begun:
            self._note(f"nself claw chat --session {self._question.session_id} continues this session.")

    def _turn(self) -> None:
        try:
            message = read_message(input)
        except EOFError:
            click.echo()
            raise _Left from None
        except KeyboardInterrupt:
            click.echo()
            # As in a shell: it takes away the line that was begun, and only on an empty one it leaves.
            if readline is not None and readline.get_line_buffer().strip():
                return
            raise _Left from None
        command = to_command(message)
        if command is not None:
            self._obey(command.name, command.argument)
        elif message.strip():
            self._ask(message)

    def _obey(self, name: str, argument: str) -> None:
        _, action = self._commands.get(name, ("", None))
        if action is None:
            self._warn(f"There is no command /{name}; /help lists them. A space before it sends it as a message.")
            return
        try:
            action(argument)
        except click.ClickException as error:
            self._warn(error.format_message())
        except KeyboardInterrupt:
            click.echo()

    def _ask(self, message: str) -> None:
        session_id = self._question.session_id
        # Only now: a session in which nothing was asked is nowhere, and cannot be resumed.
        if not self._has_begun and session_id is not None:
            self._memory.note_session(self._connection.url, session_id)
        self._has_begun = True
        question = msgspec.structs.replace(self._question, text=message)
        answer = answered(self._connection, question, new_screen(self._console, is_plain=self._is_plain))
        if answer.error:
            self._warn(answer.error)
        if answer.text or not answer.error:
            self._note(f"({answer.summary})")

    # --- commands ---

    def _begin(self, _argument: str) -> None:
        self._switch(new_session_id())

    def _continue(self, argument: str) -> None:
        self._switch(session_id_from(argument))

    def _switch(self, session_id: str) -> None:
        self._question = msgspec.structs.replace(self._question, session_id=session_id)
        self._has_begun = False
        self._note(f"Session {session_id}.")

    def _list(self, _argument: str) -> None:
        print_sessions(limit=_LISTED, url=self._connection.given_url)

    def _name(self, argument: str) -> None:
        if not argument:
            raise click.ClickException("Give the title: /title TEXT")
        change_title(str(self._question.session_id), argument, url=self._connection.given_url)
        self._note("The session has this title now.")

    def _choose(self, argument: str) -> None:
        if argument:
            self._question = msgspec.structs.replace(self._question, model=argument)
        tier = f", at the tier {self._question.tier} only" if self._question.tier else ""
        self._note(f"Model {self._question.model}{tier}.")

    def _help(self, _argument: str) -> None:
        for name, (text, _) in self._commands.items():
            click.echo(f"  /{name:<10}{text}")
        click.echo('A line that ends in \\ goes on in the next; """ begins and ends a message of several lines.')

    def _leave(self, _argument: str) -> None:
        raise _Left

    def _note(self, text: str) -> None:
        self._console.print(Text(text, "dim"), soft_wrap=True)

    def _warn(self, text: str) -> None:
        sys.stdout.flush()
        self._console.print(Text(text, "yellow"), soft_wrap=True)


def new_session_id() -> str:
    """Return an id for a session that nobody has yet."""
    return str(UUID(new_request_id()))
