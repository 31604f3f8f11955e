"""Formulas in Markdown -> MathML: $...$ and $$...$$, and the brackets of LaTeX, which models prefer. Pure."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Any, Final

from latex2mathml.converter import convert
from mdit_py_plugins.dollarmath import dollarmath_plugin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it import MarkdownIt
    from markdown_it.renderer import RendererHTML
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token

MOST_CHARS: Final = 2_000
"""The longest formula that is set."""
MOST_CHARS_TOGETHER: Final = 30_000
_MOST_BRACES: Final = 400
_MOST_LINES: Final = 60
# What begins with a space, ends with one, or has a digit around it is money.
_SINGLE: Final = re.compile(r"\$(?![\s$])((?:[^\\$]|\\.){1,2000})(?<!\s)\$(?![0-9$])", re.DOTALL)
_DOUBLE: Final = re.compile(r"\$\$((?:[^\\$]|\\.|\$(?!\$)){1,2000})\$\$", re.DOTALL)
_BARE_PERCENT: Final = re.compile(r"(?<!\\)((?:\\\\)*)%")


class Formulas:
    """A budget of characters for the formulas of a text."""

    def __init__(self) -> None:
        self.left = MOST_CHARS_TOGETHER

    def take(self, size: int) -> bool:
        """Return whether there is room for a formula of this size."""
        self.left -= size
        return self.left >= 0


def add_formulas(parser: MarkdownIt) -> None:
    """Let a parser read formulas; the environment of each text has its `Formulas` as `formulas`."""
    dollarmath_plugin(parser, allow_labels=False, allow_blank_lines=False)
    # Its own takes a price at the end of a paragraph for what stands before its beginning.
    parser.inline.ruler.at("math_inline", _inline_dollars)
    parser.inline.ruler.before("escape", "math_brackets", _inline_brackets)
    parser.block.ruler.before("fence", "math_brackets", _block_brackets, {"alt": ["paragraph"]})
    for name in ("math_inline", "math_inline_double", "math_block"):
        parser.add_render_rule(name, _formula)


def to_mathml(latex: str, *, is_block: bool) -> str:
    r"""Return a formula as MathML; as code where it is none, or none that is known.

    Args:
        latex: without what delimits it.
        is_block: whether it stands on lines of its own.
    """
    kind = "block" if is_block else "inline"
    # In LaTeX it begins a comment, and a percentage that a model wrote would end its formula unseen.
    visible = _BARE_PERCENT.sub(r"\1\%", latex)
    if len(latex) <= MOST_CHARS and latex.count("{") <= _MOST_BRACES:
        try:
            return f'<span class="math {kind}">{convert(visible, display=kind)}</span>'
        except Exception:  # noqa: BLE001, S110 -- it has errors of its own, and others for what it did not think of
            pass
    return f'<code class="math">{escape(latex)}</code>'


def _formula(_self: RendererHTML, tokens: Sequence[Token], at: int, _options: Any, environment: Any) -> str:
    token = tokens[at]
    latex = token.content.strip()
    is_block = token.type != "math_inline"
    if not environment["formulas"].take(len(latex)):
        shown = f'<code class="math">{escape(latex)}</code>'
    else:
        shown = to_mathml(latex, is_block=is_block)
    return (
        f'<div class="math-box" tabindex="0" role="region" aria-label="Formula">{shown}</div>\n'
        if token.block
        else shown
    )


def _inline_dollars(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 -- as the library calls it
    """Read $...$ and $$...$$ within a paragraph."""
    if state.src[state.pos] != "$" or (state.pos and state.src[state.pos - 1].isalnum()):
        return False
    is_double = state.src.startswith("$$", state.pos)
    found = (_DOUBLE if is_double else _SINGLE).match(state.src, state.pos, state.posMax)
    if found is None:
        return False
    if not silent:
        token = state.push("math_inline_double" if is_double else "math_inline", "math", 0)
        token.content = found[1]
    state.pos = found.end()
    return True


def _inline_brackets(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 -- as the library calls it
    r"""Read \(...\) and \[...\] within a paragraph."""
    opening = state.src[state.pos : state.pos + 2]
    if opening not in {"\\(", "\\["}:
        return False
    end = state.src.find("\\)" if opening == "\\(" else "\\]", state.pos + 2, min(state.posMax, state.pos + MOST_CHARS))
    if end < 0 or not state.src[state.pos + 2 : end].strip():
        return False
    if not silent:
        token = state.push("math_inline" if opening == "\\(" else "math_inline_double", "math", 0)
        token.content = state.src[state.pos + 2 : end]
    state.pos = end + 2
    return True


def _block_brackets(state: StateBlock, first: int, last: int, silent: bool) -> bool:  # noqa: FBT001 -- as above
    r"""Read \[...\] on lines of its own: within a paragraph a line that begins with a minus would begin a list."""
    if state.is_code_block(first) or not state.src.startswith("\\[", state.bMarks[first] + state.tShift[first]):
        return False
    lines: list[str] = []
    for number in range(first, min(last, first + _MOST_LINES)):
        state.env["steps"].step()
        line = state.src[state.bMarks[number] + state.tShift[number] : state.eMarks[number]]
        lines.append(line)
        if not line.strip():
            return False
        if "\\]" in line:
            break
    content, _, rest = "\n".join(lines)[2:].partition("\\]")
    if "\\]" not in lines[-1] or rest.strip(" .,;") or not content.strip():
        return False
    if not silent:
        state.line = first + len(lines)
        token = state.push("math_block", "math", 0)
        token.block = True
        token.content = content
        token.map = [first, state.line]
    return True
