"""Markdown of strangers: nothing in it acts or loads, nothing of it is lost, and none takes more than its length."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.ui.markdown.render import MOST_CHARS, MOST_NESTING, TooMuchWork, rendered, steps_of, to_html
from api.ui.markdown.sanitiser import MATHML, cleaned

ACTING: Final = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<svg/onload=alert(1)>", "<iframe src=//e.com>",
    "<a href=javascript:alert(1)>", "[x](javascript:alert(1))", "[x](JaVaScRiPt&#58;alert(1))",
    "[x](data:text/html,hi)",
    "[x](vbscript:x)", "<javascript:alert(1)>", "![x](http://e.com/i.png)", "![x](data:image/svg+xml,hi)",
    "![](https://e.com/i.png 'onload=x')", "[x](/ui/keys)", "[x](//e.com)", "<style>*{}</style>",
    "<math><mtext><style>",
    "$\\href{javascript:alert(1)}{x}$", "$\\text{<img src=x onerror=a>}$", "\\[\\style{x:url(//e.com)}{y}\\]",
    "```<img src=x>\n<script>\n```", "`<b onclick=x>`", '[x](http://e.com/"onmouseover="alert(1))',
    "http://e.com/'\"><script>", "<http://e.com/><script>", "<details open ontoggle=alert(1)>",
    "|<b>|\n|-|\n|<i onx=y>|",
    "$\\color{red'onload=x}{y}$", "&lt;script&gt;", "&#60;script>", "<form action=//e.com><input>",
    "<meta http-equiv=refresh>",
)  # fmt: skip
MARKS: Final = (
    "\n", "\n\n", " ", "  \n", "    ", "\t", "*", "**", "***", "_", "`", "``", "```\n", "```python\n", "~~~\n",
    "~~", "[",
    "]", "](", ")", "(", "![", "<", ">", "> ", "- ", "1. ", "# ", "### ", "|", "|-|\n", "$", "$$", "\\(", "\\)",
    "\\[", "\\]",
    "\\", "&", "&amp;", "&#x", "<br>", "---\n", "===\n", "\x00", "\ud800", "\u202e", "{", "}", "\\frac{", "\\left(",
    "^", "%",
)  # fmt: skip
WORDS: Final = st.from_regex(r"w[0-9]{1,4}x", fullmatch=True)
TEXTS: Final = st.lists(st.one_of(st.sampled_from(ACTING), st.sampled_from(MARKS), WORDS, st.text(max_size=8))).map(
    "".join
)


class _Elements(HTMLParser):
    """Keeps each element of a text as a browser would see it, and all words."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


HARMLESS: Final = MATHML | {
    *("a", "blockquote", "br", "code", "div", "em", "figcaption", "figure", "h3", "h4", "h5", "h6", "hr", "li", "ol"),
    *("p", "pre", "s", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"),
}


def check_harmless(html: str) -> None:
    """Check that nothing in a page acts, loads, or is drawn over it."""
    for tag, attributes in _Elements(html).found:
        assert tag in HARMLESS, tag
        assert not {name for name in attributes if name.startswith("on") or name in {"src", "style", "id", "srcset"}}
        address = attributes.get("href", "http://none")
        assert tag == "a" or "href" not in attributes
        assert (address or "").lower().startswith(("http://", "https://", "mailto:")), address


@given(TEXTS)
def test_nothing_that_anybody_writes_acts_or_loads(text: str) -> None:
    """Whatever it is made of; and no text is refused."""
    check_harmless(to_html(text))


@given(st.lists(st.one_of(st.sampled_from(ACTING), st.text(max_size=20))).map("".join))
def test_html_that_the_parser_let_through_would_be_cleaned(html: str) -> None:
    """The second of two walls, alone."""
    check_harmless(cleaned(html))


@given(
    st.lists(st.one_of(st.sampled_from([mark for mark in MARKS if mark not in {"](", "![", "\\"}]), WORDS), max_size=40)
)
def test_no_word_is_lost(parts: list[str]) -> None:
    """What was said is in the page, however it is marked up."""
    words = [part for part in parts if part.startswith("w")]
    html = to_html(" ".join(parts))
    shown = "".join(_Elements(html).text.split())
    assert [word for word in words if word not in shown and word not in html] == []


@pytest.mark.parametrize(
    "mark", [mark for mark in MARKS if mark.strip()] + ["[a](", "$a ", "$$x\n", "\\[a\n", "*a **b ", "> - "]
)
def test_twice_the_text_takes_twice_the_steps(mark: str) -> None:
    """Or it is shown as it was written, which takes none."""
    text = mark.replace("\ud800", "?") * 400
    try:
        once, twice = steps_of(text), steps_of(text * 2)
    except TooMuchWork:
        assert "as-written" in to_html(text * 2)
    else:
        assert twice <= 2.2 * once + 200


@pytest.mark.parametrize(
    ("mark", "count"), [("[", 5_000), ("![", 2_500), ("a", MOST_CHARS + 1), (">", 200), ("\\[a\n", 2_000)]
)
def test_what_takes_too_much_is_shown_as_it_was_written(mark: str, count: int) -> None:
    """All of it, as text."""
    text = mark * count
    html = to_html(text)
    assert html.startswith('<div class="as-written">')
    assert _Elements(html).text == text


def test_what_is_nested_too_deeply_is_not_left_out() -> None:
    """The parser leaves it out without a word."""
    for depth in (2, MOST_NESTING // 2, MOST_NESTING - 1, MOST_NESTING, MOST_NESTING + 1, 10 * MOST_NESTING):
        assert "word" in to_html(">" * depth + " word")
        assert f"item{depth - 1}" in to_html("".join("  " * level + f"- item{level}\n" for level in range(depth)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("**a** _b_ ~~c~~ `d`", "<strong>a</strong> <em>b</em> <s>c</s> <code>d</code>"),
        ("a\nb", "a<br>\nb"),
        ("# A\n### B\n## C", "<h3>A</h3>\n<h4>B</h4>\n<h4>C</h4>"),
        ("|a|\n|-:|\n|b<br>c|", '<td class="right">b<br>\nc</td>'),
        ("see https://e.com/a_(b).", ">https://e.com/a_(b)</a>."),
        ("[t](https://e.com)", 'rel="noopener noreferrer nofollow">t</a>'),
        ("![shown](https://e.com/x.png)", ">shown</a>"),
        (
            "```python\nif a < b: pass\n```",
            '<figcaption>Python</figcaption><pre tabindex="0"><code><span class="k">if</span>',
        ),
        ("```unheard-of\n<a>\n```", "<code>&lt;a&gt;\n</code>"),
        ("it is $5 and $6", "<p>it is $5 and $6</p>"),
        ("$x$ is 6", '<math xmlns="http://www.w3.org/1998/Math/MathML" display="inline">'),
        ("then $$x^2$$ and", 'display="block"><mrow><msup>'),
        ("\\(x\\)", 'display="inline"'),
        ("\\[\na\n- b\n\\]", "<mi>a</mi><mo>\u2212</mo><mi>b</mi>"),
        ("$$\n\\frac{a}{b}\n$$", "<mfrac>"),
        ("\\(5% b\\)", "<mn>5</mn><mi>%</mi><mi>b</mi>"),
        ("$5\\% b$", "<mn>5</mn><mi>%</mi><mi>b</mi>"),
        ("$\\left( a$", '<code class="math">\\left( a</code>'),
        ("[x]: https://e.com 'gone'", "[x]: <a href"),
    ],
)
def test_what_models_write_is_read(text: str, expected: str) -> None:
    """The Markdown of answers, with formulas of both kinds."""
    assert expected in to_html(text)


async def test_a_long_text_is_rendered_as_a_short_one_is() -> None:
    """In a thread: the event loop goes on meanwhile."""
    text = "**a** " * 2_000
    assert await rendered(text) == to_html(text)
    assert await rendered("**a**") == to_html("**a**")
