"""Markdown of models and of users -> HTML that may stand in a page: made by one library, cleaned by another. Pure.

Nothing of it loads anything or acts: HTML in it is shown as text, an image becomes a link to it, and what may be left
after cleaning is a list (`sanitiser.py`). Texts come from strangers, so their work is counted: one that takes
more than its length explains is shown as it was written.
"""

from __future__ import annotations

import logging
import re
import time
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any, Final

from markdown_it import MarkdownIt
from markupsafe import Markup

from api.ui.markdown.code_blocks import Colouring, to_code_block
from api.ui.markdown.formulas import Formulas, add_formulas
from api.ui.markdown.sanitiser import cleaned
from shared.process.threads import in_one_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from markdown_it.renderer import RendererHTML
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token

_log = logging.getLogger(__name__)

MOST_CHARS: Final = 100_000
"""The longest text that is read as Markdown."""
MOST_NESTING: Final = 50
STEPS_PER_CHAR: Final = 20
"""Number of rules that may be tried for a character; ordinary texts need less than one, and those that
are read in one go at most 14."""
_FEW_STEPS: Final = 4_000
MOST_S: Final = 1.5
"""Time that a text may take of its thread to be read, in seconds: a bound for what is slow in few steps. Ordinary texts
of the greatest length take a third of it."""
_CLOCK_STEPS: Final = 256
_BESIDE_CHARS: Final = 1_024
"""A longer text is rendered in a thread: that takes up to 10 ms."""
_FIRST_HEADING: Final = 3
"""A page has its own heading, and each message one."""
_BREAK: Final = re.compile(r"<br ?/?>", re.IGNORECASE)
_ADDRESS: Final = re.compile(r"https?://[^\s<>\"'`\\^{}|\[\]]{1,2000}")
_AFTER_ADDRESS: Final = ".,:;!?*_~"


class TooMuchWork(Exception):
    """A text takes more work than its length explains."""


class _Steps:
    """Counts what is tried for one text.

    Args:
        size: of the text, in characters.
    """

    def __init__(self, size: int) -> None:
        self.taken = 0
        self.most = _FEW_STEPS + STEPS_PER_CHAR * size
        self._ends_at = time.thread_time() + MOST_S

    def step(self) -> None:
        self.taken += 1
        if self.taken > self.most or (not self.taken % _CLOCK_STEPS and time.thread_time() > self._ends_at):
            raise TooMuchWork


async def rendered(text: str) -> Markup:
    """Return a text as HTML; a long one is rendered in a thread, and one with code."""
    # The first code in a language imports its lexer.
    if len(text) <= _BESIDE_CHARS and "```" not in text and "~~~" not in text:
        return to_html(text)
    return await in_one_thread(lambda: to_html(text))


def to_html(text: str) -> Markup:
    """Return a text as HTML; as it was written where it cannot be read as Markdown."""
    # JSON may bring half of a surrogate pair, and no response can hold one.
    text = text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
    if len(text) > MOST_CHARS:
        return _as_written(text)
    try:
        return _to_html(text)
    except (TooMuchWork, RecursionError):
        return _as_written(text)
    except Exception as error:  # noqa: BLE001 -- whatever a library trips over, a text can be shown as it is
        _log.warning("a text cannot be read as Markdown: %s", type(error).__name__)
        return _as_written(text)


def steps_of(text: str) -> int:
    """Return how many steps a text takes.

    Raises:
        TooMuchWork: more than its length explains.
    """
    environment = _environment(text)
    _parser().parse(text, environment)
    taken: int = environment["steps"].taken
    return taken


def _to_html(text: str) -> Markup:
    parser, environment = _parser(), _environment(text)
    tokens = parser.parse(text, environment)
    if any(token.level >= MOST_NESTING - 1 for token in tokens):
        # What is deeper is left out by the parser, and nothing that was said may be.
        raise TooMuchWork
    _level_headings(tokens)
    return Markup(cleaned(parser.renderer.render(tokens, parser.options, environment)))  # noqa: S704 -- cleaned


def _as_written(text: str) -> Markup:
    return Markup('<div class="as-written">{}</div>').format(text)


def _environment(text: str) -> dict[str, Any]:
    return {"steps": _Steps(len(text)), "formulas": Formulas(), "code": Colouring(), "in_link": False}


@cache
def _parser() -> MarkdownIt:
    """Return the parser. It keeps nothing of a text, so threads may share it."""
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True, "maxNesting": MOST_NESTING})
    parser.enable(["table", "strikethrough"])
    # It takes lines away, and no model names its links so.
    parser.disable("reference")
    add_formulas(parser)
    parser.inline.ruler.before("autolink", "line_break", _line_break)
    for name, rule in (
        ("fence", _code),
        ("code_block", _code),
        ("image", _image),
        ("link_open", _link_open),
        ("link_close", _link_close),
        ("table_open", _table_open),
        ("table_close", _table_close),
        ("text", _text),
        ("th_open", _cell),
        ("td_open", _cell),
    ):
        parser.add_render_rule(name, rule)
    for ruler in (parser.block.ruler, parser.inline.ruler):
        for each in ruler.__rules__:
            each.fn = _counted(each.fn)
    skip = parser.inline.skipToken

    def skip_token(state: StateInline) -> None:
        state.env["steps"].step()
        skip(state)

    parser.inline.skipToken = skip_token  # type: ignore[method-assign]  # its only hook
    return parser


def _counted(rule: Callable[..., Any]) -> Callable[..., Any]:
    """Return a rule that is counted where it is tried."""

    def run(state: Any, *arguments: Any) -> Any:
        state.env["steps"].step()
        return rule(state, *arguments)

    return run


def _line_break(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 -- as the library calls it
    """Read the one tag that models write without meaning HTML: a line break, in tables."""
    found = _BREAK.match(state.src, state.pos)
    if found is None:
        return False
    if not silent:
        state.push("hardbreak", "br", 0)
    state.pos = found.end()
    return True


def _level_headings(tokens: Sequence[Token]) -> None:
    """Put the headings of a text below those of its page, without a level left out."""
    open_levels: list[int] = []
    shown = 0
    for token in tokens:
        if token.type == "heading_open":
            level = int(token.tag[1])
            while open_levels and open_levels[-1] >= level:
                open_levels.pop()
            open_levels.append(level)
            shown = min(6, _FIRST_HEADING - 1 + len(open_levels))
        if token.type in {"heading_open", "heading_close"}:
            token.tag = f"h{shown}"


def _code(_self: RendererHTML, tokens: Sequence[Token], at: int, _options: Any, environment: Any) -> str:
    token = tokens[at]
    return to_code_block(token.content, token.info, environment["code"])


def _image(self: RendererHTML, tokens: Sequence[Token], at: int, options: Any, environment: Any) -> str:
    """Write a link: an image would tell its server who reads what."""
    token = tokens[at]
    shown = escape(self.renderInlineAsText(token.children, options, environment).strip() or "image")
    address = str(token.attrGet("src") or "")
    # HTML has no link within a link.
    if environment["in_link"] or not address.startswith(("http://", "https://")):
        return shown
    return f'<a href="{escape(address)}">{shown}</a>'


def _link_open(self: RendererHTML, tokens: Sequence[Token], at: int, options: Any, environment: Any) -> str:
    environment["in_link"] = True
    return self.renderToken(tokens, at, options, environment)


def _link_close(_self: RendererHTML, _tokens: Any, _at: int, _options: Any, environment: Any) -> str:
    environment["in_link"] = False
    return "</a>"


def _table_open(*_: Any) -> str:
    return '<div class="table-box" role="region" aria-label="Table" tabindex="0"><table>\n'


def _table_close(*_: Any) -> str:
    return "</table></div>\n"


def _cell(_self: RendererHTML, tokens: Sequence[Token], at: int, _options: Any, _environment: Any) -> str:
    """Write a cell: the library's has an inline style, which pages of ours do not allow."""
    tag = tokens[at].tag
    style = str(tokens[at].attrGet("style") or "")
    side = style.rpartition(":")[2]
    return f'<{tag} class="{side}">' if side in {"left", "right", "center"} else f"<{tag}>"


def _text(_self: RendererHTML, tokens: Sequence[Token], at: int, _options: Any, environment: Any) -> str:
    """Write a text; addresses in it become links, unless they are in one."""
    content = tokens[at].content
    if "://" not in content or environment["in_link"]:
        return escape(content)
    parts, end = [], 0
    for found in _ADDRESS.finditer(content):
        address = _address(found[0])
        shown = escape(address)
        parts += [escape(content[end : found.start()]), f'<a href="{shown}">{shown}</a>']
        end = found.start() + len(address)
    return "".join([*parts, escape(content[end:])])


def _address(found: str) -> str:
    """Return an address without the end of the sentence in which it stands."""
    address = found.rstrip(_AFTER_ADDRESS)
    # A pair of parentheses is the address's own, as Wikipedia has them (GFM, extended autolinks).
    while address.endswith(")") and address.count(")") > address.count("("):
        address = address[:-1].rstrip(_AFTER_ADDRESS)
    return address
