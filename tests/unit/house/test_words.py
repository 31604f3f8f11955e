"""The words of the house: what docstrings begin with."""

from __future__ import annotations

import ast
import re
from typing import Final

import pytest

from tests.unit.house.tree import PRODUCT, files, parsed, relative

NO_VERB: Final = re.compile(
    r"(A|About|After|All|An|Any|As|At|Before|Both|By|CPU|Each|Every|Everything|For|From|How|If|In|It|Its|Local|"
    r"Milliseconds|No|Nobody|None|Nothing|Of|On|Once|One|Only|Seconds|Some|That|The|These|They|This|Those|Until|What|"
    r"When|Where|Whether|Which|While|Who|Whose|Why|With|Within|Without|\w+'s|\w+ing(?<!\bBring)|[^A-Za-z]\S*)\b"
)
"""What begins a clause or names a thing: a docstring that begins so does not say what its function does."""

ODD_VERB: Final = re.compile(r"(Be|Have|Know|Learn|Says?|Tells?)\b")
"""Verbs that an engineer would not use for what a function does."""


@pytest.mark.parametrize("top", [*PRODUCT, "bench"])
def test_a_functions_docstring_begins_with_a_verb(top: str) -> None:
    """In the imperative, and in the field's words; those of classes are nouns, those of tests are claims."""
    wrong = [
        f"{relative(path)}:{node.lineno} {node.name}: {docstring.splitlines()[0]}"
        for path in files(top)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (docstring := ast.get_docstring(node)) is not None
        and (NO_VERB.match(docstring) or ODD_VERB.match(docstring))
    ]
    assert not wrong, "\n".join(wrong)
