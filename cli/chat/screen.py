"""The screen of a chat: an answer while it comes, as Markdown on a terminal and as it is elsewhere."""

from __future__ import annotations

import re
import sys
import time
from typing import TYPE_CHECKING, Final, Protocol, Self

import click
from markdown_it import MarkdownIt
from rich.live import Live
from rich.markdown import Markdown
from rich.spinner import Spinner
from rich.text import Text

from cli.chat.blocks import BlockSplitter

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console, ConsoleOptions, RenderResult

REFRESH_S: Final = 0.08
_LONGEST_LIVE_CHARACTERS: Final = 6000
"""An unfinished block of more characters is shown without its markup, since it is read anew at each refresh."""
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_CODE_THEME: Final = "ansi_dark"
# What looks like HTML is shown as it is: by default it would be left out.
_markdown: Final = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])


def showable(text: str) -> str:
    """Return a text of a model as a terminal may get it: without what steers one, but for line feeds and tabs."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


class Screen(Protocol):
    """The output of an answer, from the question (`__enter__`) to its end."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def waits(self, what: str) -> None:
        """Show what is waited for."""

    def add(self, text: str) -> None:
        """Show a piece of the answer."""

    def refresh(self) -> None:
        """Show what has come since the last time; called every `REFRESH_S` seconds."""


class PlainScreen:
    """Text as it comes, with nothing around it: for files, pipes and simple terminals.

    Args:
        is_file: whether nobody looks at it now, so that a program may have every character.
    """

    def __init__(self, *, is_file: bool) -> None:
        self._is_file = is_file
        self._ends_line = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """End the last line."""
        if not self._ends_line:
            click.echo()

    def waits(self, what: str) -> None:
        """Show nothing: it would stand in the answer."""

    def add(self, text: str) -> None:
        """Show a piece at once."""
        click.echo(text if self._is_file else showable(text), nl=False)
        self._ends_line = text.endswith("\n")

    def refresh(self) -> None:
        """Do nothing: all is shown already."""


class MarkdownScreen:
    """Markdown on a terminal: finished blocks are printed once, and only the last one is drawn anew.

    Args:
        console: the terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._splitter = BlockSplitter()
        self._what = ""
        self._spinner = Spinner("dots")
        self._pending = ""
        self._drawn = ""
        self._blocks_shown = 0
        self._started = time.monotonic()
        self._live = Live(console=console, auto_refresh=False, transient=True, redirect_stderr=False)

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        self._live.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Print what is left, for good."""
        self._live.update("")
        self._live.stop()
        for block in [*self._splitter.feed(showable(self._pending)), self._splitter.end()]:
            self._print(block)

    def waits(self, what: str) -> None:
        """Show what is waited for, and for how long already, until something comes."""
        self._what = what

    def add(self, text: str) -> None:
        """Show a piece with the next refresh."""
        self._pending += text

    def refresh(self) -> None:
        """Print the blocks that are finished, and draw the one that is not."""
        # What may be half of a line's end waits for the rest of it.
        pending = self._pending.removesuffix("\r")
        self._pending = self._pending[len(pending) :]
        for block in self._splitter.feed(showable(pending)):
            self._print(block)
        rest = self._splitter.rest
        if not rest.strip() and not self._blocks_shown:
            waited_s = time.monotonic() - self._started
            self._spinner.update(text=Text(f"{self._what} ({waited_s:.0f} s)" if waited_s >= 1 else self._what, "dim"))
            self._live.update(self._spinner, refresh=True)
        elif rest != self._drawn:
            self._drawn = rest
            self._live.update(_Unfinished(rest, self._blocks_shown) if rest.strip() else "", refresh=True)

    def _print(self, block: str) -> None:
        if not block.strip():
            return
        # The block that was drawn may be this one.
        self._live.update("")
        if self._blocks_shown:
            self._console.print()
        self._blocks_shown += 1
        self._console.print(to_markdown(block))


class _Unfinished:
    """The end of a block that goes on, as much as there is room for.

    Args:
        text: of the block.
        above: how many blocks are above it.
    """

    def __init__(self, text: str, above: int) -> None:
        self._text = text
        self._above = above

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the last lines."""
        is_long = len(self._text) > _LONGEST_LIVE_CHARACTERS
        shown = Text(self._text[-_LONGEST_LIVE_CHARACTERS:]) if is_long else to_markdown(self._text)
        lines = console.render_lines(shown, options.update(height=None), pad=False)
        if self._above:
            yield Text()
        for number, line in enumerate(lines[-max(1, console.height - 3) :]):
            if number:
                yield Text()
            yield from line


def to_markdown(text: str) -> Markdown:
    """Return a text as Markdown for a terminal; addresses of links are shown, as nobody can look behind them."""
    markdown = Markdown(text, code_theme=_CODE_THEME, hyperlinks=False)
    markdown.parsed = _markdown.parse(text)
    return markdown


def new_screen(console: Console, *, is_plain: bool) -> Screen:
    """Return what suits standard output."""
    if not sys.stdout.isatty():
        return PlainScreen(is_file=True)
    if is_plain or console.is_dumb_terminal or not console.is_terminal:
        return PlainScreen(is_file=False)
    return MarkdownScreen(console)
