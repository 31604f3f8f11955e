"""Elements of HTML and SVG that are well-formed XML too, whatever stands in them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_VALUE: Final = "\N{EN DASH}"
_UNFIT: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
"""Characters that no XML may hold, nor UTF-8 all of them."""
_VOID: Final = frozenset({"br", "path", "rect", "line", "circle"})
"""Elements of which nothing is ever inside."""


def text(value: str | Markup) -> Markup:
    """Return a text as it may stand in an element or an attribute; markup stays as it is."""
    return value if isinstance(value, Markup) else escape(_UNFIT.sub("\ufffd", value))


def number(value: float) -> str:
    """Return a coordinate, to a hundredth and no longer than it has to be."""
    written = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if written == "-0" else written


def element(name: str, attributes: Mapping[str, str | float], *inside: str | Markup) -> Markup:
    """Return an element. A value that is no text is a coordinate."""
    written = Markup("").join(
        Markup(' {}="{}"').format(key, text(value) if isinstance(value, str) else number(value))
        for key, value in attributes.items()
    )
    if name in _VOID and not inside:
        return Markup("<{}{}/>").format(name, written)
    return Markup("<{}{}>{}</{}>").format(name, written, Markup("").join(map(text, inside)), name)
