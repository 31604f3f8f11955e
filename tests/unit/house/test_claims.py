"""What the documents say of the code can be held: paths, names, commands, variables."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from typing import TYPE_CHECKING

import pytest

from tests.unit.house.tree import PRODUCT, READS_ALL, ROOT, files, parsed, relative

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = READS_ALL

DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
_CODE = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(r"(?:api|workers|shared|cli|tests|bench|migrations|requirements|deploy|docs)/[\w./-]*")
_NAME = re.compile(r"([A-Z]\w+)\.(_?[a-z]\w+)")
_TARGET = re.compile(r"\bmake ([a-z][a-z-]*)")
_EXCEPTION = re.compile(r"# (?:ruff: )?(?:noqa\b|type: ignore\b)")
_WITH_REASON = re.compile(r"# (?:ruff: )?(?:noqa: [A-Z0-9, ]+ -- |type: ignore\[[a-z, -]+\]  # )\S.{3}")
_LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_what_a_document_names_is_there(document: Path) -> None:
    """Each path of the repository, and each file that a link leads to."""
    text = document.read_text()
    named = [name for name in _CODE.findall(text) if _PATH.fullmatch(name) and "NAME" not in name]
    missing = [name for name in named if not (ROOT / name).exists()]
    missing += [link for link in _LINK.findall(text) if "://" not in link and not (document.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("name", ["architecture", "invariants", "failures"])
def test_the_methods_that_are_named_exist(name: str) -> None:
    """`Class.method` stands somewhere as a class with that method."""
    source = "\n".join(path.read_text() for top in ("api", "workers", "shared") for path in (ROOT / top).rglob("*.py"))
    named = [
        found for span in _CODE.findall((ROOT / "docs" / f"{name}.md").read_text()) for found in _NAME.findall(span)
    ]
    assert [
        f"{owner}.{method}"
        for owner, method in named
        if f"class {owner}" not in source or not re.search(rf"def {method}\(", source)
    ] == []


def test_no_document_names_a_method_that_its_class_lost() -> None:
    """In decisions too, where classes of others are named beside ours."""
    source = "\n".join(path.read_text() for path in files("api", "workers", "shared", "cli"))
    assert [
        f"{relative(document)}: {owner}.{name}"
        for document in DOCUMENTS
        for span in _CODE.findall(document.read_text())
        for owner, name in _NAME.findall(span)
        if re.search(rf"class {owner}\b", source) and not re.search(rf"\b{name}\b", source)
    ] == []


def test_the_commands_of_make_exist() -> None:
    """Those that a document shows are targets."""
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = {
        target
        for document in DOCUMENTS
        for block in re.findall(r"(?:^    .*$|`[^`\n]+`)", document.read_text(), re.MULTILINE)
        for target in _TARGET.findall(block)
    }
    assert shown
    assert shown <= targets


def _files_of(section: str) -> list[str]:
    """Return the files that a section of architecture.md names, with the folder of the last where one has none."""
    text = (ROOT / "docs" / "architecture.md").read_text().split(f"## {section}\n", 1)[1].split("\n## ", 1)[0]
    found: list[str] = []
    for row in re.findall(r"^\| \w+ \| (.+?) \| ", text, re.MULTILINE):
        for name in _CODE.findall(row):
            folder = found[-1].rpartition("/")[0] + "/" if "/" not in name else ""
            if name.endswith((".py", ".lua")):
                found.append(folder + name)
    return found


@pytest.mark.parametrize(("section", "most"), [("The way of a request", 20), ("The way of a token", 14)])
def test_a_way_is_short(section: str, most: int) -> None:
    """Each of its files is there, and they are few."""
    names = _files_of(section)
    assert [name for name in names if not (ROOT / name).exists()] == []
    assert 5 < len(set(names)) <= most


def test_every_setting_is_documented() -> None:
    """docs/configuration.md has each variable that the gateway reads."""
    source = (ROOT / "shared" / "settings.py").read_text()
    read = set(re.findall(r"\b(?:CLAW|GEMINI|OPENAI|ANTHROPIC|OLLAMA)_[A-Z0-9_]*[A-Z0-9]\b", source))
    documented = (ROOT / "docs" / "configuration.md").read_text()
    assert read
    assert sorted(name for name in read if name not in documented) == []


@pytest.mark.parametrize("top", [*PRODUCT, "bench", "tests"])
def test_each_exception_has_its_reason_on_the_line(top: str) -> None:
    """Where a rule of ruff or a type of mypy does not hold, somebody must be able to see why."""
    wrong = [
        f"{relative(path)}:{token.start[0]}: {token.string}"
        for path in files(top)
        for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
        if token.type == tokenize.COMMENT and _EXCEPTION.match(token.string) and not _WITH_REASON.match(token.string)
    ]
    assert not wrong, "\n".join(wrong)


def test_a_script_names_its_keys_and_arguments_at_its_head() -> None:
    """By position they stand in declarations only; the seeding of a budget is short enough to be read as it is."""
    by_position = re.compile(r"(?:KEYS|ARGV)\[")
    wrong = [
        f"{path.name}:{number}: {line}"
        for path in files("shared/redis/lua", suffixes=(".lua",))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if by_position.search(line) and not line.startswith(("local ", "--")) and path.name != "seed_budget.lua"
    ]
    assert not wrong, "\n".join(wrong)


_ARGS = re.compile(r"^Args:\n((?: {4}.*\n?|\n)+)", re.MULTILINE)
_ARG = re.compile(r"^ {4}(\*{0,2}\w+(?:, \*{0,2}\w+)*):", re.MULTILINE)


def _parameters(owner: ast.AST) -> set[str]:
    """Return the names that a docstring may explain: parameters of a function or of a class's making, and fields."""
    names = set()
    for each in [owner, *(owner.body if isinstance(owner, ast.ClassDef) else ())]:
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            names.add(each.target.id)
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and (each is owner or each.name == "__init__"):
            names |= {argument.arg for argument in ast.walk(each.args) if isinstance(argument, ast.arg)}
    return names


@pytest.mark.parametrize("top", [*PRODUCT, "bench", "tests"])
def test_what_a_docstring_explains_is_a_parameter(top: str) -> None:
    """Under its own name, as it is called today."""
    wrong = [
        f"{relative(path)}:{node.lineno} {node.name}: {name}"
        for path in files(top)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and (explained := _ARGS.search(ast.get_docstring(node) or ""))
        for names in _ARG.findall(explained[1])
        for name in names.replace("*", "").split(", ")
        if name not in _parameters(node)
    ]
    assert wrong == []
