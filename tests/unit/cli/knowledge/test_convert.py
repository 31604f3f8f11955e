"""Files of others become Markdown, or are refused with a reason."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.prompt.knowledge.chunking import Piece, chunked
from cli.knowledge import convert
from cli.knowledge.convert import CONVERTERS, Unreadable, to_markdown
from tests.unit.cli.knowledge.made_files import docx, pdf

PAGE = b"""<html><head><title>T</title><script>alert(1)</script><style>p {}</style></head><body>
<h1>Install</h1><p>Run <code>nself_start</code> &amp; wait.</p><script>alert("evil")</script>
<h2>On Linux</h2><ul><li>one</li><li>two</li></ul><img src="x.png" alt="a picture"><noscript>no</noscript>
<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table></body></html>"""


def test_a_page_becomes_sections_without_its_scripts() -> None:
    """Headings, lists and tables stay; what is not shown is gone."""
    pieces = chunked(to_markdown(PAGE, ".html"), "page")
    assert [piece.title for piece in pieces] == ["page / Install", "page / Install / On Linux"]
    assert pieces[0].content == "Run `nself_start` & wait."
    assert "| a | b |" in pieces[1].content
    assert not any(word in piece.content for piece in pieces for word in ("alert", "evil", "picture", "no\n", "{}"))


def test_a_docx_becomes_sections() -> None:
    """By the styles of its paragraphs."""
    text = to_markdown(docx(("Heading1", "Install"), ("", "First."), ("Heading2", "Linux"), ("", "Second.")), ".docx")
    assert chunked(text, "d") == [Piece("d / Install", "First."), Piece("d / Install / Linux", "Second.")]


def test_a_pdf_becomes_a_chunk_a_page() -> None:
    """What looks like a heading in it is text."""
    pieces = chunked(to_markdown(pdf("First page.", "# not a heading", ""), ".pdf"), "p")
    assert [piece.title for piece in pieces] == ["p / Page 1", "p / Page 2"]
    assert pieces[0].content == "First page."
    assert "# not a heading" in pieces[1].content


@pytest.mark.parametrize("suffix", [".md", ".txt"])
def test_text_stays_as_it_is(suffix: str) -> None:
    """But for what no database holds."""
    assert to_markdown("\ufeff# Größe\n\na\x00b".encode(), suffix) == "# Größe\n\na b"


@pytest.mark.parametrize(
    ("raw", "suffix", "reason"),
    [
        (b"\xff\xfe\x00", ".txt", "not UTF-8"),
        (b"   \n", ".md", "no text"),
        (b"", ".html", "no text"),
        (pdf(""), ".pdf", "no text"),
        (b"%PDF-1.4 rubbish", ".pdf", "damaged"),
        (b"PK\x03\x04 rubbish", ".docx", "damaged"),
        (docx(("", "x"))[:-30], ".docx", "damaged"),
    ],
    # Not of the bytes: an archive has the time in it, and processes that share the tests must name them alike.
    ids=["not-utf8", "blank", "empty", "blank-pdf", "no-pdf", "no-docx", "cut-docx"],
)
def test_what_cannot_be_read_is_refused(raw: bytes, suffix: str, reason: str) -> None:
    """With a reason that a person understands."""
    with pytest.raises(Unreadable, match=reason):
        to_markdown(raw, suffix)


def test_an_archive_that_unpacks_to_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything of it is unpacked."""
    monkeypatch.setattr(convert, "MOST_UNPACKED_BYTES", 1_000_000)
    bomb = docx(("", "x"), **{"word/media.bin": bytes(10_000_000)})
    assert len(bomb) < 50_000
    with pytest.raises(Unreadable, match="unpacks to more"):
        to_markdown(bomb, ".docx")


def test_a_document_that_expands_its_entities_is_refused() -> None:
    """The reader of XML has a bound on that."""
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    evil = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e0 "aaaaaaaaaa">{entities}]><x>&e11;</x>'
    with pytest.raises(Unreadable):
        to_markdown(docx(("", "x"), **{"word/styles.xml": evil.encode()}), ".docx")


@pytest.mark.parametrize(
    ("bound", "raw", "suffix"),
    [
        ("MOST_FILE_BYTES", b"x" * 200, ".txt"),
        ("MOST_TEXT_CHARS", b"x" * 200, ".txt"),
        ("MOST_TEXT_CHARS", pdf("x" * 200), ".pdf"),
        ("MOST_PAGES", pdf(*["x"] * 200), ".pdf"),
    ],
)
def test_what_is_too_large_is_refused(bound: str, raw: bytes, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its bytes, its text or its pages."""
    monkeypatch.setattr(convert, bound, 100)
    with pytest.raises(Unreadable, match=r"more than|larger than"):
        to_markdown(raw, suffix)


def test_a_page_of_endless_depth_is_refused_or_read() -> None:
    """It ends nothing but itself."""
    with suppress(Unreadable):
        assert "deep" in to_markdown(b"<div>" * 50_000 + b"deep", ".html")


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from(sorted(CONVERTERS)), st.binary(max_size=300), st.integers(min_value=0, max_value=600))
def test_no_bytes_lead_to_another_error(suffix: str, noise: bytes, at: int) -> None:
    """Whatever is in the middle of a file that was well."""
    whole = {".pdf": pdf("text"), ".docx": docx(("", "text"))}.get(suffix, PAGE)
    try:
        text = to_markdown(whole[:at] + noise + whole[at + len(noise) :], suffix)
    except Unreadable:
        return
    assert text.strip()
    assert "\x00" not in text
