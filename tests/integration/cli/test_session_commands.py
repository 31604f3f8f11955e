"""`nself claw sessions` against a running management API."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest

from tests.integration.api.manage.sample_chats import Chats
from tests.integration.cli.managed import claw, url

if TYPE_CHECKING:
    from pathlib import Path

    from shared.postgres.database import Database

__all__ = ["url"]

pytestmark = pytest.mark.usefixtures("url")


@pytest.fixture
def chats(database: Database) -> Chats:
    """Return where chats are stored."""
    return Chats(database)


async def listed(*arguments: str) -> list[list[str]]:
    """Return the rows of the list: id, title and number of messages."""
    shown = await claw("sessions", "list", *arguments)
    assert shown.exit_code == 0, shown.output
    return [re.split(r"\s{2,}", line)[:3] for line in shown.output.splitlines()[1:]]


async def test_list_rename_archive_delete(chats: Chats) -> None:
    """The life of a session."""
    assert "nself claw chat" in (await claw("sessions", "list")).output
    chat, other = await chats.talk("a"), await chats.talk("b")
    assert (await claw("sessions", "rename", chat, "My plan")).exit_code == 0
    assert await listed() == [[other, "b", "2"], [chat, "My plan", "2"]]
    assert await listed("--limit", "1") == [[other, "b", "2"]]
    assert "archived" in (await claw("sessions", "archive", other)).output
    assert await listed() == [[chat, "My plan", "2"]]
    assert await listed("--archived") == [[other, "b", "2"]]
    assert (await claw("sessions", "archive", other, "--undo")).exit_code == 0
    assert (await claw("sessions", "rename", chat, "")).exit_code == 0
    for _ in range(2):
        assert (await claw("sessions", "delete", other)).output == "The session is deleted.\n"
    assert await listed() == [[chat, "a", "2"]]


async def test_long_lists_come_in_pages(chats: Chats) -> None:
    """Nobody notices."""
    for number in range(103):
        await chats.talk(str(number))
    assert len({row[0] for row in await listed("--limit", "1000")}) == 103
    assert len(await listed("--limit", "101")) == 101


async def test_messages_are_shown_in_their_order(chats: Chats) -> None:
    """With who said them; what would steer a terminal is not passed on."""
    chat = await chats.talk("one", "1\x1b[31m\n2")
    for number in range(60):
        await chats.talk(f"q{number}", f"a{number}", session_id=UUID(chat))
    shown = (await claw("sessions", "show", chat, "--limit", "1000")).output
    said = [line for line in shown.splitlines() if line]
    assert re.fullmatch(r"[0-9a-f-]{36} user", said[0])
    assert said[1] == "one"
    assert said[2].endswith(" assistant (local, smollm2)")
    assert said[3:5] == ["1\ufffd[31m", "2"]
    assert said[-1] == "a59"
    newest = json.loads((await claw("sessions", "show", chat, "--limit", "2", "--json")).stdout)["messages"]
    assert [each["content"] for each in newest] == ["a59", "q59"]


async def test_search_branch_and_export(chats: Chats, tmp_path: Path) -> None:
    """What was found is branched at a message, and written to a file."""
    chat = await chats.talk("How do I restart nginx?", "nself restart nginx")
    await chats.talk("And postgres?", "The same way.", session_id=UUID(chat))
    found = (await claw("sessions", "search", "restart", "nginx")).output
    assert chat in found
    assert "restart nginx" in found
    assert (await claw("sessions", "search", "absent")).output == "Nothing was found.\n"
    messages = json.loads((await claw("sessions", "show", chat, "--json")).stdout)["messages"]
    branched = json.loads((await claw("sessions", "branch", chat, "--at", messages[2]["id"], "--json")).stdout)
    assert (branched["message_count"], branched["parent_session_id"]) == (2, chat)
    assert "has 4 messages" in (await claw("sessions", "branch", chat)).output
    file = tmp_path / "chat.md"
    assert (await claw("sessions", "export", branched["id"], "--output", str(file))).exit_code == 0
    assert "## Assistant (local smollm2)\n\nnself restart nginx\n" in file.read_text()
    exported = json.loads((await claw("sessions", "export", chat, "--format", "json")).stdout)
    assert len(exported["messages"]) == 4


async def test_admin_mode_of_a_session(chats: Chats) -> None:
    """On and off; the list says it."""
    chat = await chats.talk("a")
    for arguments, is_on in (((), True), (("--off",), False)):
        done = await claw("admin", "enable", "--session", chat, *arguments)
        assert done.exit_code == 0, done.output
        (session,) = json.loads((await claw("sessions", "list", "--json")).stdout)["sessions"]
        assert session["is_admin_mode"] is is_on


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("show", "nonsense"), "is not the id of a session"),
        (("show", str(uuid4())), "no session"),
        (("rename", str(uuid4()), "x"), "no session"),
        (("delete", str(uuid4())), "no session"),
        (("branch", str(uuid4())), "no session"),
        (("export", str(uuid4())), "no session"),
        (("list", "--key", "x"), "key_id"),
        (("search", " "), "q must have"),
    ],
)
async def test_what_cannot_be_done_is_said(arguments: tuple[str, ...], text: str) -> None:
    """On stderr, with an exit code that is not 0."""
    refused = await claw("sessions", *arguments)
    assert refused.exit_code != 0
    assert text in refused.stderr
