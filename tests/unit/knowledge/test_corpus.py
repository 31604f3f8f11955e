"""The nSelf corpus keeps the form that search and context need."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.house.tree import ROOT

if TYPE_CHECKING:
    from pathlib import Path

CORPUS = ROOT / "knowledge"
FILES = sorted((CORPUS / "nself").glob("*.toml"))
CATEGORIES = {
    "ai",
    "auth",
    "backup",
    "claw",
    "configuration",
    "custom-services",
    "database",
    "deployment",
    "environments",
    "gateway",
    "hasura",
    "lifecycle",
    "monitoring",
    "nginx",
    "observe",
    "optional-services",
    "overview",
    "plugins",
    "security",
    "ssl",
    "troubleshooting",
    "upgrade",
}
FEWEST = 150
SHORTEST, LONGEST = 60, 2500
FIELDS = {"id", "title", "content", "keywords", "commands", "tags", "source"}
MAY_BE_EMPTY = {"commands"}
SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def _read(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text())


def _chunks() -> list[dict[str, Any]]:
    return [chunk for path in FILES for chunk in _read(path)["chunk"]]


def test_the_version_is_stated() -> None:
    """It says what the corpus knows, and the form it has."""
    version = _read(CORPUS / "version.toml")
    assert set(version) == {"version", "schema_version", "description"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", version["version"])
    assert version["schema_version"] == 1
    assert version["description"].strip()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_holds_one_category(path: Path) -> None:
    """The one it is named after, and nothing beside its chunks."""
    file = _read(path)
    assert set(file) == {"category", "chunk"}
    assert file["category"] == path.stem
    assert file["category"] in CATEGORIES


def test_there_are_enough_chunks() -> None:
    """Fewer would leave parts of nSelf out."""
    assert len(_chunks()) >= FEWEST


def test_ids_are_unique_slugs() -> None:
    """Over all files, since a note and an evaluation name a chunk by its id alone."""
    ids = [chunk["id"] for chunk in _chunks()]
    assert [name for name, count in Counter(ids).items() if count > 1] == []
    assert [name for name in ids if not SLUG.fullmatch(name)] == []


def test_titles_are_unique() -> None:
    """The context that is shown to a model tells chunks apart by them."""
    titles = Counter(chunk["title"] for chunk in _chunks())
    assert [title for title, count in titles.items() if count > 1] == []


def test_no_field_is_missing_or_empty() -> None:
    """But commands, as a topic may have none."""
    assert {chunk.get("id"): set(chunk) for chunk in _chunks() if set(chunk) != FIELDS} == {}
    empty = [
        (chunk["id"], field)
        for chunk in _chunks()
        for field in sorted(FIELDS - MAY_BE_EMPTY)
        if not chunk[field] or (isinstance(chunk[field], str) and not chunk[field].strip())
    ]
    assert empty == []


def test_lists_hold_distinct_words() -> None:
    """No keyword, tag or command is blank, or there twice."""
    wrong = [
        (chunk["id"], field)
        for chunk in _chunks()
        for field in ("keywords", "tags", "commands")
        if not all(word.strip() == word != "" for word in chunk[field]) or len(set(chunk[field])) != len(chunk[field])
    ]
    assert wrong == []


def test_a_chunk_fits_into_a_context() -> None:
    """It is long enough to answer and short enough for several to be given."""
    sizes = {chunk["id"]: len(chunk["content"].strip()) for chunk in _chunks()}
    assert {name: size for name, size in sizes.items() if not SHORTEST <= size <= LONGEST} == {}


def test_commands_stand_in_the_content() -> None:
    """Word for word, so that what is listed is also explained."""
    absent = [
        (chunk["id"], command)
        for chunk in _chunks()
        for command in chunk["commands"]
        if not command.startswith("nself ") or command not in chunk["content"]
    ]
    assert absent == []


def test_code_fences_are_closed() -> None:
    """An open one would swallow what follows it in the context."""
    assert [chunk["id"] for chunk in _chunks() if chunk["content"].count("```") % 2] == []


def test_no_chunk_repeats_another() -> None:
    """A text within another would be found, and given, twice."""
    texts = [(chunk["id"], " ".join(chunk["content"].split())) for chunk in _chunks()]
    assert [(one, other) for one, text in texts for other, longer in texts if one != other and text in longer] == []


def test_the_question_of_the_readme_has_its_answer() -> None:
    """How do I restart nginx: one chunk asks it in its title and answers it by a command."""
    [chunk] = [chunk for chunk in _chunks() if chunk["title"] == "How do I restart nginx"]
    assert "nself restart nginx" in chunk["commands"]
