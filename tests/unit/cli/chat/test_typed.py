"""What is typed at the prompt of a chat."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.chat.typed import CONTINUED, PROMPT, Command, read_message, to_command

lines = st.text(st.characters(exclude_characters="\n"))


def keyboard(*typed: str) -> Callable[[str], str]:
    """Lines that are typed one after the other; nothing more is an end of file."""
    left = list(typed)

    def read_line(prompt: str) -> str:
        assert prompt == (PROMPT if len(left) == len(typed) else CONTINUED)
        if not left:
            raise EOFError
        return left.pop(0)

    return read_line


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (("hello",), "hello"),
        (("",), ""),
        (("one\\", "two\\", "three"), "one\ntwo\nthree"),
        (('"""', "a", "", "b", '"""'), "a\n\nb"),
        (('"""a', 'b"""'), "a\nb"),
        (('"""whole"""',), "whole"),
        (('  """', "x", '  """  '), "x\n  "),
    ],
)
def test_a_message_may_have_several_lines(typed: tuple[str, ...], message: str) -> None:
    """By a backslash at the end of each, or between two fences."""
    assert read_message(keyboard(*typed)) == message


@given(st.lists(lines, min_size=1))
def test_every_typing_is_a_message_or_goes_on(typed: list[str]) -> None:
    """With all that was typed but marks and line ends."""
    try:
        message = read_message(keyboard(*typed))
    except EOFError:
        return
    assert set(message) <= {"\n", *"".join(typed)}
    if not typed[0].endswith("\\") and '"""' not in typed[0]:
        assert message == typed[0]


@pytest.mark.parametrize(
    ("message", "command"),
    [
        ("/help", Command("help", "")),
        ("/TITLE  My plan ", Command("title", "My plan")),
        ("/", Command("", "")),
        (" /help", None),
        ("/etc/hosts\nis what?", None),
        ("help", None),
    ],
)
def test_a_command_begins_with_a_slash(message: str, command: Command | None) -> None:
    """A space before it makes it a message."""
    assert to_command(message) == command
