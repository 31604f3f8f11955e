"""Input at the prompt of a chat: one line, or several, or a command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

FENCE: Final = '"""'
"""Before and after a message of several lines."""
PROMPT: Final = ">>> "
CONTINUED: Final = "... "


class Command(NamedTuple):
    """A command of the chat, without its slash, and what follows it."""

    name: str
    argument: str


def read_message(read_line: Callable[[str], str]) -> str:
    """Read a message: a line, with those after it while one ends in a backslash, or all between two fences.

    Args:
        read_line: shows a prompt and returns a line without its end; what it raises ends the message.
    """
    line = read_line(PROMPT)
    if line.lstrip().startswith(FENCE):
        text = line.lstrip().removeprefix(FENCE)
        while not text.rstrip().endswith(FENCE):
            text += "\n" + read_line(CONTINUED)
        return text.rstrip().removesuffix(FENCE).strip("\n")
    while line.endswith("\\"):
        line = line[:-1] + "\n" + read_line(CONTINUED)
    return line


def to_command(message: str) -> Command | None:
    """Return the command that a message is; one that begins with a space, or has several lines, is none."""
    if not message.startswith("/") or "\n" in message:
        return None
    name, _, argument = message[1:].partition(" ")
    return Command(name.lower(), argument.strip())
