"""Code that Gemini wrote and ran for its answer, as text of the answer. Pure.

OpenAI's chat has no form for it, and it is a part of what the model says. Source of the shapes:
google.ai.generativelanguage.v1beta (ExecutableCode, CodeExecutionResult).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from workers.providers.http.usage_report import read_report

if TYPE_CHECKING:
    from msgspec import Raw

_FENCES: Final = re.compile(r"^\s*(`{3,})", re.MULTILINE)


def code_text(code: Raw) -> str:
    """Return code as a fenced block of Markdown."""
    found = read_report(code)
    language = str(found.get("language") or "").lower()
    return _block(language if language.isalnum() and language != "language_unspecified" else "", found.get("code"))


def result_text(result: Raw) -> str:
    """Return what code printed, or how it failed, as a fenced block of Markdown; nothing where it says neither."""
    found = read_report(result)
    outcome = str(found.get("outcome") or "OUTCOME_OK").removeprefix("OUTCOME_").lower().replace("_", " ")
    output = found.get("output")
    if outcome == "ok":
        return _block("", output) if output else ""
    return f"\n\n(code execution: {outcome})\n" + (_block("", output) if output else "")


def _block(language: str, text: Any) -> str:
    shown = text if isinstance(text, str) else ""
    # A fence inside of the code must not end the block.
    longest = max((len(fence) for fence in _FENCES.findall(shown)), default=2)
    fence = "`" * max(3, longest + 1)
    return f"\n\n{fence}{language}\n{shown.rstrip()}\n{fence}\n\n"
