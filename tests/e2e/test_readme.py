"""Every command that the README shows, typed as it stands there."""

from __future__ import annotations

import asyncio
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.upstreams.openai.replies import text
from tests.upstreams.scripted import sse

if TYPE_CHECKING:
    from tests.e2e.stack import Stack
    from tests.upstreams.scripted import ScriptedUpstream

pytestmark = pytest.mark.xdist_group("scripted")

README = Path(__file__).resolve().parents[2] / "README.md"
COMMAND = re.compile(r"^ {4}(nself claw .*)$", re.MULTILINE)
LACKING: Final = {
    "models install": (1, "set PLUGIN_OLLAMA_URL"),
    "gemini add": (2, "No API key"),
    "chat": (2, "The question is empty"),
    "chat --resume": (2, "no session to resume"),
    "logs ID": (1, "does not know"),
}
"""What the stack of this test has no server for, or nobody who answers: how the command ends, and what it says."""
UNDONE: Final = (
    ("routing", "set", "chat", "api_key", "--enable"),
    ("prompts", "default", "none"),
    ("prompts", "remove", "house"),
)
"""What takes back what the others would notice."""


def commands() -> list[list[str]]:
    """The words of each command, without what follows as a comment."""
    return [shlex.split(line, comments=True)[2:] for line in COMMAND.findall(README.read_text())]


async def test_the_readme_s_commands_work_line_by_line(
    scripted: Stack, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    """In its order; what needs another server says so."""
    upstream.fallback = sse(text("It is ", "one door."))
    lines = commands()
    assert len(lines) > 20
    house = tmp_path / "house.md"
    house.write_text("Be brief.\n")
    for words in lines:
        # Of its own: some commands end it.
        key_id = (await asyncio.to_thread(scripted.new_key)).id if "ID" in words else ""
        typed = [{"ID": key_id, "house.md": str(house)}.get(word, word) for word in words]
        done = await asyncio.to_thread(scripted.nself, "claw", *typed)
        lacking = LACKING.get(" ".join(words[:2]))
        said = done.stdout + done.stderr
        assert "Traceback" not in said
        if lacking is None:
            assert (done.returncode, done.stderr) == (0, ""), (words, said)
        else:
            assert (done.returncode, lacking[1] in said) == (lacking[0], True), (words, done.returncode, said)
    for undoing in UNDONE:
        done = await asyncio.to_thread(scripted.nself, "claw", *undoing)
        assert done.returncode == 0, (undoing, done.stderr)
