"""Options that several commands have, and the values that they take."""

from __future__ import annotations

import functools
import re
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from shared.postgres.gemini_accounts import MAX_LIMIT
from shared.postgres.keys import MAX_BUDGET_USD, MAX_GRACE_S, MAX_TOKENS_PER_MINUTE

if TYPE_CHECKING:
    from collections.abc import Callable

ASK: Final = "-"
"""In place of a key: ask for it, or read it from standard input, where nobody else sees it."""
NONE: Final = "none"
"""The value that takes a bound or a project away."""
MAX_NAME_CHARACTERS: Final = 200
_SPAN: Final = re.compile(r"(\d{1,6})([mhdw])", re.IGNORECASE)
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

as_json: Callable[[Any], Any] = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
wide: Callable[[Any], Any] = click.option(
    "--wide", is_flag=True, help="All columns, whole, however long the lines are."
)


class Meaningless(click.ClickException):
    """A command that cannot be meant: nothing is asked of the gateway."""

    exit_code = 2


def on_or_off(on: str, off: str, name: str, text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command two flags that exclude each other, as one parameter: true, false, or None where neither is given.

    Args:
        on: the flag for true, without its dashes.
        off: the flag for false.
        name: the command's parameter.
        text: what `--help` says of it.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def merged(**given: Any) -> Any:
            is_on, is_off = given.pop(f"is_{name}_on"), given.pop(f"is_{name}_off")
            if is_on and is_off:
                raise click.UsageError(f"--{on} and --{off} exclude each other.")
            return command(**given, **{name: is_on if is_on or is_off else None})

        # Two options under names of their own: click has no third state for a pair of flags.
        with_off = click.option(f"--{off}", f"is_{name}_off", is_flag=True, help="The opposite.")(merged)
        return click.option(f"--{on}", f"is_{name}_on", is_flag=True, help=text)(with_off)

    return decorate


def dollars(text: str) -> float | str:
    """Parse a sum of US dollars, with or without its sign, or `none`.

    Raises:
        BadParameter: it is neither.
    """
    if text.lower() == NONE:
        return NONE
    try:
        sum_usd = float(text.removeprefix("$"))
    except ValueError:
        sum_usd = -1.0
    if not 0 <= sum_usd <= MAX_BUDGET_USD:
        raise click.BadParameter(f"{text!r} is neither a sum of US dollars from 0 to {MAX_BUDGET_USD:,} nor {NONE}.")
    return sum_usd


def moment(text: str) -> str:
    """Parse a time to come, as a span from now (`90m`, `12h`, `30d`, `2w`) or in ISO form, or `none`; return ISO or it.

    Raises:
        BadParameter: it is none of them, or in the past.
    """
    if text.lower() == NONE:
        return NONE
    now = datetime.now(UTC)
    try:
        if span := _SPAN.fullmatch(text):
            when = now + timedelta(**{_UNITS[span[2].lower()]: int(span[1])})
        else:
            when = datetime.fromisoformat(text)
            # The clock of the person who types it.
            when = when if when.tzinfo else when.astimezone()
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{text!r} is no time: 12h, 30d, 2027-01-31, 2027-01-31T18:00 or {NONE}.") from None
    if when <= now:
        raise click.BadParameter(f"{text!r} is in the past.")
    return when.isoformat(timespec="seconds")


def span_s(text: str) -> int:
    """Parse a time of grace, as in `90m`, `12h`, `7d`, or `0`; return seconds.

    Raises:
        BadParameter: it is none, or too long.
    """
    span = _SPAN.fullmatch(text)
    found_s = timedelta(**{_UNITS[span[2].lower()]: int(span[1])}).total_seconds() if span else 0
    if not (span or text == "0") or found_s > MAX_GRACE_S:
        raise click.BadParameter(f"{text!r} is no span of at most {MAX_GRACE_S // 86400} days: 30m, 12h, 7d or 0.")
    return int(found_s)


def visible_name(text: str) -> str:
    """Parse the name of a key, without the white space around it.

    Raises:
        BadParameter: nobody could see it, or it is too long.
    """
    name = text.strip()
    if not any(character.isprintable() for character in name) or len(name) > MAX_NAME_CHARACTERS:
        raise click.BadParameter(f"A name has visible characters, and at most {MAX_NAME_CHARACTERS}.")
    return name


def account_name(text: str) -> str:
    """Parse the name of a new account, usually an address of mail.

    Raises:
        BadParameter: nobody could see it, it is too long, or it could not stand in a path.
    """
    name = visible_name(text)
    if any(character.isspace() or character == "/" or not character.isprintable() for character in name):
        raise click.BadParameter("The name of an account has no spaces, slashes and control characters.")
    return name


def limit_or_none(text: str) -> int | str:
    """Parse a limit of an account, or `none`.

    Raises:
        BadParameter: it is neither.
    """
    return _whole_or_none(text, MAX_LIMIT)


def tokens_or_none(text: str) -> int | str:
    """Parse a key's tokens a minute, or `none`.

    Raises:
        BadParameter: it is neither.
    """
    return _whole_or_none(text, MAX_TOKENS_PER_MINUTE)


def _whole_or_none(text: str, most: int) -> int | str:
    if text.lower() == NONE:
        return NONE
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and 1 <= int(text) <= most):
        raise click.BadParameter(f"{text!r} is neither a whole number from 1 to {most} nor {NONE}.")
    return int(text)


def secret_from(given: str, name: str) -> str:
    """Get a secret as it was given, from a hidden prompt, or, without a terminal, from standard input's first line.

    Args:
        given: the value of `--key`; empty or `ASK`: not in the command line, which every user of the machine can read.
        name: for people.

    Raises:
        ClickException: there is none.
    """
    if given.strip() not in {"", ASK}:
        return given.strip()
    if sys.stdin.isatty():
        return str(click.prompt(name, hide_input=True)).strip()
    # The first line alone: a file with a key often ends in more than one.
    secret = sys.stdin.readline().strip()
    if not secret:
        raise Meaningless(f"No {name}: give --key, or pipe it in.")
    return secret
