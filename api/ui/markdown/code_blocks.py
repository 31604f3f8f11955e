"""Code in Markdown -> HTML, coloured by classes. Pure."""

from __future__ import annotations

import re
import time
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any, Final

from pygments.lexers import get_lexer_by_name
from pygments.token import STANDARD_TYPES
from pygments.util import ClassNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pygments.lexer import Lexer

MOST_CHARS: Final = 20_000
"""The longest block that is coloured."""
MOST_LINE_CHARS: Final = 2_000
MOST_S: Final = 0.25
"""Time that the blocks of a text may take of their thread together: what is left of them is not coloured."""
_LANGUAGE: Final = re.compile(r"[A-Za-z0-9+#.\-_]{1,24}")
_SHOWN: Final = {
    "js": "JavaScript", "javascript": "JavaScript", "ts": "TypeScript", "py": "Python", "sh": "Shell", "bash": "Shell",
    "zsh": "Shell", "console": "Shell", "html": "HTML", "css": "CSS", "sql": "SQL", "json": "JSON", "yaml": "YAML",
    "yml": "YAML", "toml": "TOML", "xml": "XML", "cpp": "C++", "c++": "C++", "cs": "C#", "csharp": "C#", "php": "PHP",
}  # fmt: skip
LEXERS: Final = frozenset({
    "bash", "sh", "zsh", "shell", "console", "c", "cpp", "c++", "csharp", "cs", "c#", "css", "dart", "diff", "docker",
    "dockerfile", "elixir", "go", "golang", "graphql", "haskell", "hcl", "html", "http", "ini", "java", "javascript",
    "js", "json", "jsx", "julia", "kotlin", "kt", "latex", "tex", "lua", "make", "makefile", "nginx", "nix", "perl",
    "php", "postgresql", "powershell", "properties", "proto", "protobuf", "pycon", "python", "py", "python3", "r", "rb",
    "ruby", "rust", "rs", "scala", "scss", "sql", "swift", "terraform", "toml", "ts", "tsx", "typescript", "vue", "xml",
    "yaml", "yml", "zig",
})  # fmt: skip
"""The languages that are coloured, by the names that pygments knows: those of answers, whose lexers are well used."""
CLASSES: Final = frozenset(name for name in STANDARD_TYPES.values() if name)


class Colouring:
    """The time of a thread that the blocks of one text may take still, in seconds."""

    def __init__(self) -> None:
        self.left_s = MOST_S


def to_code_block(code: str, info: str, colouring: Colouring) -> str:
    """Return a block of code, with the name of its language above it where there is one.

    Args:
        code: as it stands between the fences.
        info: what stands after the first one.
        colouring: what its text may take.
    """
    named = _LANGUAGE.match(info.strip())
    language = named[0] if named else ""
    shown = _SHOWN.get(language.lower(), language.capitalize() if language.islower() else language) or "Text"
    coloured = "".join(_coloured(code, language.lower(), colouring))
    return (
        f'<figure class="code-block"><figcaption>{escape(shown)}</figcaption>'
        f'<pre tabindex="0"><code>{coloured}</code></pre></figure>\n'
    )


def _coloured(code: str, language: str, colouring: Colouring) -> Iterator[str]:
    lexer = _lexer(language) if language in LEXERS else None
    if lexer is None or len(code) > MOST_CHARS or max(map(len, code.split("\n"))) > MOST_LINE_CHARS:
        yield escape(code, quote=False)
        return
    began_at = time.thread_time()
    ends_at, at = began_at + colouring.left_s, 0
    for start, kind, text in lexer.get_tokens_unprocessed(code):
        if start != at or time.thread_time() > ends_at:
            break
        name = STANDARD_TYPES.get(kind) or _nearest(kind)
        shown = escape(text, quote=False)
        yield f'<span class="{name}">{shown}</span>' if name and not text.isspace() else shown
        at += len(text)
    colouring.left_s -= time.thread_time() - began_at
    # Also where a lexer goes back, or leaves something out.
    yield escape(code[at:], quote=False)


@cache
def _lexer(language: str) -> Lexer | None:
    try:
        return get_lexer_by_name(language)
    except ClassNotFound:
        return None


def _nearest(kind: Any) -> str:
    """Return the class of the nearest kind of token that has one."""
    while kind is not None and kind not in STANDARD_TYPES:
        kind = kind.parent
    return str(STANDARD_TYPES.get(kind, ""))
