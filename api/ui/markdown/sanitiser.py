"""The last step of all HTML that was made of a stranger's text: what is not in these lists is not in a page. Pure."""

from __future__ import annotations

from functools import cache
from typing import Final

import nh3

from api.ui.markdown.code_blocks import CLASSES

_TAGS: Final = frozenset({
    "a", "blockquote", "br", "code", "div", "em", "figcaption", "figure", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p",
    "pre", "s", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
})  # fmt: skip
MATHML: Final = frozenset({
    "math", "menclose", "merror", "mfrac", "mi", "mmultiscripts", "mn", "mo", "mover", "mpadded", "mphantom",
    "mprescripts",
    "mroot", "mrow", "ms", "mspace", "msqrt", "mstyle", "msub", "msubsup", "msup", "mtable", "mtd", "mtext", "mtr",
    "munder", "munderover", "none",
})  # fmt: skip
"""Elements of MathML that only draw: none links, runs or holds elements of another language."""
_MATHML_ATTRIBUTES: Final = frozenset({
    "accent", "accentunder", "columnalign", "columnlines", "columnspacing", "depth", "displaystyle", "fence", "height",
    "largeop", "linethickness", "lspace", "mathcolor", "mathvariant", "maxsize", "minsize", "movablelimits", "notation",
    "rowlines", "rowspacing", "rspace", "scriptlevel", "separator", "stretchy", "symmetric", "voffset", "width",
})  # fmt: skip
_SIDES: Final = frozenset({"left", "right", "center"})


def cleaned(html: str) -> str:
    """Return HTML with nothing in it that runs, loads, or looks like a part of the page."""
    return _cleaner().clean(html)


@cache
def _cleaner() -> nh3.Cleaner:
    return nh3.Cleaner(
        tags=set(_TAGS | MATHML),
        clean_content_tags={"script", "style"},
        attributes={
            "a": {"href", "target"},
            "ol": {"start"},
            "math": {"display", "xmlns"},
            **{tag: set(_MATHML_ATTRIBUTES) for tag in MATHML - {"math"}},
        },
        tag_attribute_values={
            "pre": {"tabindex": {"0"}},
            "div": {"tabindex": {"0"}, "role": {"region"}, "aria-label": {"Table", "Formula"}},
        },
        set_tag_attribute_values={"a": {"target": "_blank"}},
        allowed_classes={
            "span": set(CLASSES | {"math", "inline", "block"}),
            "code": {"math"},
            "div": {"table-box", "math-box"},
            "figure": {"code-block"},
            "td": set(_SIDES),
            "th": set(_SIDES),
        },
        link_rel="noopener noreferrer nofollow",
        url_schemes={"http", "https", "mailto"},
        url_relative="deny",  # it would lead to a page of ours
    )
