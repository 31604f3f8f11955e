"""The words of the house: what docstrings begin with, and the glossary's old names, which are gone."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from tests.unit.house.tree import PRODUCT, READS_ALL, ROOT, files, parsed, relative

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = READS_ALL

NO_VERB: Final = re.compile(
    r"(A|About|After|All|An|Any|As|At|Before|Both|By|CPU|Each|Every|Everything|For|From|How|If|In|It|Its|Local|"
    r"Milliseconds|No|Nobody|None|Nothing|Of|On|Once|One|Only|Seconds|Some|That|The|These|They|This|Those|Until|What|"
    r"When|Where|Whether|Which|While|Who|Whose|Why|With|Within|Without|\w+'s|\w+ing(?<!\bBring)|[^A-Za-z]\S*)\b"
)
"""What begins a clause or names a thing: a docstring that begins so does not say what its function does."""

ODD_VERB: Final = re.compile(r"(Be|Have|Know|Learn|Says?|Tells?)\b")
"""Verbs that an engineer would not use for what a function does."""


ROOMS_OF_TESTS: Final = (
    "attack", "browser", "e2e", "unit", "upstreams", *(f"integration/{name}" for name in ("api", "shared", "workers")),
)  # fmt: skip


@pytest.mark.parametrize("top", [*PRODUCT, "bench", *(f"tests/{name}" for name in ROOMS_OF_TESTS)])
def test_a_functions_docstring_begins_with_a_verb(top: str) -> None:
    """In the imperative, and in the field's words; those of classes are nouns, those of tests are claims."""
    wrong = [
        f"{relative(path)}:{node.lineno} {node.name}: {docstring.splitlines()[0]}"
        for path in files(top)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and not node.name.startswith("test_")
        and (docstring := ast.get_docstring(node)) is not None
        and (NO_VERB.match(docstring) or ODD_VERB.match(docstring))
    ]
    assert not wrong, "\n".join(wrong)


CLAUSE: Final = re.compile(r"(What|Whether|How|Where|Which|Who|Whose|When|Why)\b")


def texts_of(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the texts that describe a module, its classes and what they and it define."""
    for node in ast.walk(module):
        for each in node.body if isinstance(node, ast.Module | ast.ClassDef) else ():
            if (
                isinstance(each, ast.Expr)
                and isinstance(each.value, ast.Constant)
                and isinstance(each.value.value, str)
            ):
                yield each.lineno, each.value.value


@pytest.mark.parametrize("top", [*PRODUCT, "bench", "knowledge"])
def test_a_description_is_no_relative_clause(top: str) -> None:
    """A thing is called by its name: no sentence is "What is stored", or "Whether it is"."""
    wrong = [
        f"{relative(path)}:{line}: {text.splitlines()[0]}"
        for path in files(top)
        for line, text in texts_of(parsed(path))
        if CLAUSE.match(text)
    ]
    assert not wrong, "\n".join(wrong)


class Old(NamedTuple):
    """A word that the glossary replaced.

    Args:
        pattern: of one word of a name or a text, in lower case.
        now: the field's term.
        elsewhere: files in which it is another word, with the reason.
    """

    pattern: str
    now: str
    elsewhere: tuple[str, ...] = ()


FOLDERS: Final = (
    "cli/up/embedded/postgres.py", "cli/up/embedded/postgres_home.py", "cli/up/link.py", "bench/peers/install.py",
    "tests/integration/cli/up/embedded/test_servers.py", "tests/integration/cli/up/up_stack.py",
    "tests/chaos/test_postgres_dies.py", "tests/e2e/stack.py",
)  # fmt: skip
"""Where `home` is a folder: PostgreSQL's, or a user's."""

OLD: Final = (
    Old("lanes?", "backend"),
    Old("homes?", "local tier", elsewhere=FOLDERS),
    Old("exchanges?", "in-flight request"),
    Old("inbounds?", "incoming stream"),
    Old("outbox(?:es)?", "relay sender"),
    Old("purses?", "budget limits"),
    Old("placings?", "placement options"),
    Old("fittings?", "eligibility"),
    Old("heed(?:s|ed|ing)?", "handle"),
    Old("nudge[sd]?", "keep-alive tick"),
    Old("overdue", "wait limit exceeded"),
    Old("wish(?:es|ed)?", "model operation"),
    Old("keepers?", "leader"),
    Old("ledgers?", "usage-log writer, account state store"),
    Old("unwell", "unhealthy"),
    Old("benched", "cooling down"),
    Old("vital", "critical task"),
    Old("garbled", "malformed"),
)
OF_PRODUCT: Final = (
    Old("asked", "requested, request", elsewhere=(
        "shared/models/ollama_operations.py", "workers/ollama_models/leader.py", "workers/recording/rows.py",
        "api/endpoints/manage/ollama_overview.py",
    )),
    Old("sa(?:id|y|ys|ying)", "report, publish, warn"),
    Old("t(?:ells?|elling|old)", "report, publish, warn", elsewhere=("workers/attempts/token_count.py",)),
    Old("doubt", "invalidate"),
)  # fmt: skip
"""Those that are plain English too, so that the claims of tests may have them. Elsewhere: `asked_ms` and `asked_model`
of wires and tables, and `BytesIO.tell`."""
ANY: Final = re.compile("|".join(old.pattern for old in OLD))

OLD_NAMES: Final = frozenset({
    "Asked", "Blame", "Exchange", "Refused", "RelayClient", "RedisSignatures", "StoreRefused",
    "DatabaseRefused", "OperationRefused", "QueueRefused", "Refusal", "RefusedError", "from_refusal", "note_refusal",
    "doubt", "is_marked", "model_store", "ollama_store", "signature_store", "spawn_vital",
})  # fmt: skip
"""Old names whose words alone mean something else."""

TEXTS_ALLOWED: Final = ("claw:store:wishes", "claw:store:keeper", "may be in a closed home", "folder of exchanges")
"""Names of keys in Redis, which stay (docs/redis.md); a user's folder; recorded HTTP exchanges."""


def identifiers(path: Path) -> Iterator[str]:
    """Yield every name that a module defines or uses."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.arg | ast.keyword) and node.arg is not None:
            yield node.arg


def words_of(name: str) -> set[str]:
    """Return the words of an identifier or of a file's name, in lower case."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def old_words(name: str, where: str) -> list[str]:
    """Return the terms that a name in a file should have instead of its old words."""
    return [
        old.now
        for word in words_of(name)
        if ANY.fullmatch(word)
        for old in OLD
        if re.fullmatch(old.pattern, word) and where not in old.elsewhere
    ]


@pytest.mark.parametrize("top", [*PRODUCT, "bench", "tests"])
def test_no_name_in_python_is_an_old_one(top: str) -> None:
    """Modules, classes, functions, arguments and variables, the tests' own among them."""
    wrong = []
    for path in files(top):
        where = relative(path)
        names = {*identifiers(path), *Path(where).with_suffix("").parts}
        wrong += [f"{where}: {name} -> {now}" for name in names for now in old_words(name, where)]
        wrong += [f"{where}: {name}" for name in names & OLD_NAMES]
    assert not wrong, "\n".join(sorted(wrong))


@pytest.mark.parametrize("top", [*PRODUCT, "bench"])
def test_no_name_of_the_product_is_a_word_of_talk(top: str) -> None:
    """What is asked is requested, and what is told is reported, published or warned of."""
    wrong = []
    for path in files(top):
        where = relative(path)
        words = {word for name in (*identifiers(path), *Path(where).with_suffix("").parts) for word in words_of(name)}
        wrong += [
            f"{where}: {word} -> {old.now}"
            for word in words
            for old in OF_PRODUCT
            if re.fullmatch(old.pattern, word) and where not in old.elsewhere
        ]
    assert not wrong, "\n".join(sorted(wrong))


def test_the_files_of_an_exception_are_there() -> None:
    """So that none outlives what it was for."""
    assert [name for old in (*OLD, *OF_PRODUCT) for name in old.elsewhere if not (ROOT / name).exists()] == []


def test_no_page_and_no_script_has_an_old_word() -> None:
    """But for names in Redis."""
    old = re.compile(rf"\b(?:{ANY.pattern})\b", re.IGNORECASE)
    pages = [*files("docs", suffixes=(".md",)), *files("shared", suffixes=(".lua",)), *sorted(ROOT.glob("*.md"))]
    wrong = [
        f"{relative(path)}:{number}: {line}"
        for path in pages
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if old.search(line) and not any(part in line for part in TEXTS_ALLOWED)
    ]
    assert not wrong, "\n".join(wrong)
