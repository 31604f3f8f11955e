"""What the gateway brings itself can be loaded, and says where it is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from api.prompt.knowledge.corpus import GATEWAY, corpus

if TYPE_CHECKING:
    from pathlib import Path

CHUNK = """
[[chunk]]
id = "a-chunk"
title = "A title"
content = "A text."
source = "https://example.org"
"""


def folder(tmp_path: Path, text: str) -> Path:
    """Return a project with one file of knowledge and one of documentation."""
    (tmp_path / "knowledge" / "nself").mkdir(parents=True)
    (tmp_path / "knowledge" / "nself" / "file.toml").write_text(text)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text("# Page\n\nText.\n\n## Section\n\nMore.")
    return tmp_path


def test_our_own_is_loaded() -> None:
    """With the documentation, whose ids name file and heading."""
    found = corpus()
    ids = [chunk.id for chunk in found.chunks]
    assert len(set(ids)) == len(ids) > 50
    assert "gateway-api-embeddings" in ids
    assert {chunk.source for chunk in found.chunks if chunk.category == GATEWAY} >= {"README.md", "docs/api.md"}


def test_a_file_and_a_page_become_chunks(tmp_path: Path) -> None:
    """Under the category of the file, and that of the gateway."""
    found = corpus(folder(tmp_path, 'category = "nginx"\n' + CHUNK))
    assert [(chunk.id, chunk.category) for chunk in found.chunks] == [
        ("a-chunk", "nginx"),
        ("gateway-page-page", GATEWAY),
        ("gateway-page-section", GATEWAY),
    ]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("category = 1\n" + CHUNK, "file.toml"),
        ('category = "x"\n' + CHUNK.replace("a-chunk", "A Chunk"), "file.toml"),
        ('category = "x"\n' + CHUNK + "author = 'me'\n", "author"),
        ('category = "x"\n' + CHUNK * 2, "a-chunk"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, named: str) -> None:
    """The file, the field or the id."""
    with pytest.raises(ValueError, match=named):
        corpus(folder(tmp_path, text))
