"""The terminal of `nself claw up`: steps with a spinner, notices, and the warnings of its children."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator

_COLORS = ("cyan", "green", "magenta", "blue", "bright_cyan", "bright_green", "bright_magenta", "bright_blue")


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Stop writing: that nobody reads any more is no reason to leave the children without a stop."""
        self.quiet = True


class Terminal:
    """One console for everything that is shown, so that a spinner and lines do not mix.

    Args:
        verbose: show every line of every child, not only warnings.
        console: where to; stdout and stderr unless a test wants it elsewhere.
    """

    def __init__(self, *, verbose: bool = False, console: Console | None = None) -> None:
        self.verbose = verbose
        self.console = console or _Console(highlight=False)
        self._errors = console or _Console(highlight=False, stderr=True)
        self._colors: dict[str, str] = {}

    @property
    def width(self) -> int:
        """Return how many characters fit into a line; 0 where it is no terminal."""
        return self.console.width if self.console.is_terminal else 0

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Show that `text` is under way (a spinner, or one plain line) and how long it took once it is done."""
        started = time.monotonic()
        if self.console.is_terminal:
            with self.console.status(Text(f"{text} ...")):
                yield
        else:
            self.notice(f"{text} ...")
            yield
        self._print(Text.assemble(("✓ ", "green"), text, (f" ({time.monotonic() - started:.1f} s)", "dim")))

    def notice(self, text: str, style: str = "") -> None:
        """Show one line, unwrapped so that it can be copied."""
        self._print(Text(text, style))

    def warn(self, text: str) -> None:
        """Show one line that wants attention."""
        self._print(Text(text, "yellow"))

    def error(self, text: str) -> None:
        """Show on stderr why something failed."""
        self._errors.print(Text(text, "bold red"), soft_wrap=True)

    def child_line(self, name: str, line: str) -> None:
        """Show one line of a child's output behind its name."""
        color = self._colors.setdefault(name, _COLORS[len(self._colors) % len(_COLORS)])
        self._print(Text.assemble((f"{name:<13} | ", color), line))

    def token(self, text: str) -> None:
        """Show a piece of the model's answer at once."""
        self.console.print(Text(text), end="", soft_wrap=True)

    def _print(self, text: Text) -> None:
        self.console.print(text, soft_wrap=True)
