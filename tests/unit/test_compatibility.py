"""What docs/compatibility.md says is served, and what is not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from werkzeug.exceptions import HTTPException

from api.app import create_app
from shared.settings import Settings

if TYPE_CHECKING:
    from quart import Quart

_DOCUMENT = Path(__file__).parents[2] / "docs" / "compatibility.md"
_ROW = re.compile(r"^\| `[^|]+ \| ([^|]*) \| (yes|no|403|for)\b[^|]* \|$", re.MULTILINE)
_CALL = re.compile(r"`([A-Z]+) (/[^`]*)`")
ROWS = [
    (method, path, verdict)
    for calls, verdict in _ROW.findall(_DOCUMENT.read_text())
    for method, path in _CALL.findall(calls)
]


@pytest.fixture(scope="module")
def app() -> Quart:
    """Return the api, which is not started."""
    return create_app(Settings(data_dir=Path("nowhere")))


def test_every_command_of_both_command_lines_has_a_row() -> None:
    """And every row is understood here."""
    lines = [line for line in _DOCUMENT.read_text().splitlines() if line.startswith("| `")]
    assert len(_ROW.findall(_DOCUMENT.read_text())) == len(lines) > 40
    text = _DOCUMENT.read_text()
    commands = (
        "api keys list", "api keys create", "api keys revoke", "api usage", "api test", "knowledge search",
        "knowledge list", "knowledge version", "knowledge note", "gemini add", "gemini list", "gemini remove",
        "models list", "models install", "models remove", "routing show", "routing set", "claw chat", "claw usage",
        "claw stats", "admin status", "admin enable", "admin context", "admin refresh", "claw setup", "claw playbooks",
        "claw voice", "claw memories", "claw proactive", "email-rules", "ai stats", "ai transcribe", "ai auth",
        "claw prompt", "claw keys", "claw status", "claw topics", "claw export", "claw unlock", "claw pair",
        "claw proxy", "claw session", "nself gateway",
    )  # fmt: skip
    assert [command for command in commands if command not in text] == []


@pytest.mark.parametrize(("method", "path", "verdict"), ROWS)
def test_what_is_said_to_be_served_has_a_url_and_what_is_not_has_none(
    app: Quart, method: str, path: str, verdict: str
) -> None:
    """But for the one call that two clients want in two shapes, and those that are refused for want of a credential."""
    urls = app.url_map.bind("localhost")
    try:
        urls.match(re.sub(r"{[a-z]+}", "x", path), method=method)
    except HTTPException:
        is_served = False
    else:
        is_served = True
    other_shape, without_token = ("GET", "/ai/models/local"), ("POST", "/claw/knowledge/notes")
    assert is_served == (verdict != "no" or (method, path) in {other_shape, without_token})
