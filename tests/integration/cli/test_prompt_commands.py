"""`nself claw prompts` against a running management API."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.integration.cli.managed import claw, url

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["url"]

pytestmark = pytest.mark.usefixtures("url")


async def listed() -> list[list[str]]:
    """Return the rows of the list, without the time."""
    shown = await claw("prompts", "list")
    return [re.split(r"\s{2,}", line)[1:4] for line in shown.output.splitlines()[1:]]


async def test_add_list_edit_default_remove(tmp_path: Path) -> None:
    """The life of a prompt, called by its name."""
    assert "No system prompts" in (await claw("prompts", "list")).output
    file = tmp_path / "terse.md"
    file.write_text("Be brief.\n")
    assert (await claw("prompts", "add", "--name", "terse", "--file", str(file))).exit_code == 0
    assert (await claw("prompts", "add", "--name", "verse", "--text", "In verse.", "--default")).exit_code == 0
    assert await listed() == [["terse", "no", "9"], ["verse", "yes", "9"]]
    assert "Default:  yes" in (await claw("prompts", "default", "terse")).output
    assert await listed() == [["terse", "yes", "9"], ["verse", "no", "9"]]
    assert (await claw("prompts", "default", "none")).exit_code == 0
    edited = await claw("prompts", "edit", "verse", "--name", "rhyme", "--file", "-", given="In rhymes.")
    assert edited.exit_code == 0
    assert await listed() == [["terse", "no", "9"], ["rhyme", "no", "10"]]
    assert (await claw("prompts", "remove", "terse")).exit_code == 0
    assert await listed() == [["rhyme", "no", "10"]]


async def test_json_is_what_the_api_said() -> None:
    """On every command."""
    made = json.loads((await claw("prompts", "add", "--name", "a", "--text", "x", "--json")).stdout)
    assert json.loads((await claw("prompts", "list", "--json")).stdout) == {"prompts": [made]}
    edited = json.loads((await claw("prompts", "edit", made["id"], "--text", "y", "--json")).stdout)
    assert edited["content"] == "y"
    assert json.loads((await claw("prompts", "default", "a", "--json")).stdout)["is_default"] is True
    assert json.loads((await claw("prompts", "default", "none", "--json")).stdout) == {"default": None}
    assert json.loads((await claw("prompts", "remove", "a", "--json")).stdout)["removed"] is True


async def test_a_key_gets_a_prompt_by_its_name() -> None:
    """When it is made or later; none takes it away."""
    made = json.loads((await claw("prompts", "add", "--name", "a", "--text", "x", "--json")).stdout)
    key = json.loads((await claw("api", "keys", "create", "--name", "k", "--prompt", "a", "--json")).stdout)
    assert key["system_prompt_id"] == made["id"]
    freed = json.loads((await claw("api", "keys", "update", key["id"], "--prompt", "none", "--json")).stdout)
    assert freed["system_prompt_id"] is None
    assert f"Prompt: {made['id']}" in (await claw("api", "keys", "update", key["id"], "--prompt", "a")).output


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("add", "--name", "a"), "--file or --text"),
        (("add", "--name", "a", "--text", "x", "--file", "-"), "exclude"),
        (("add", "--name", "a", "--text", " "), "content"),
        (("add", "--name", "a", "--file", "/dev/zero"), "at most"),
        (("edit", "nobody", "--text", "x"), "prompts list"),
        (("edit", "nobody"), "Nothing to change"),
        (("default", "nobody"), "prompts list"),
        (("remove", "nobody"), "prompts list"),
    ],
)
async def test_what_cannot_be_done_is_said(arguments: tuple[str, ...], text: str) -> None:
    """On stderr, with an exit code that is not 0."""
    refused = await claw("prompts", *arguments)
    assert refused.exit_code != 0
    assert text in refused.stderr
