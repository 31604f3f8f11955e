"""/claw/sessions: what it lists, finds, changes and gives out, on a real PostgreSQL."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from shared.postgres.keys import KeyStore
from shared.postgres.session_directory import MOST_PAGE_BYTES
from shared.settings import Settings
from tests.integration.api.manage.gateway_stub import management_app
from tests.integration.api.manage.sample_chats import Chats, message

if TYPE_CHECKING:
    from quart.typing import TestClientProtocol
    from redis.asyncio import Redis

    from shared.postgres.database import Database

TOKEN = {"x-internal-token": "geheim"}
SESSIONS = "/claw/sessions"


@pytest.fixture
def client(database: Database, redis: Redis) -> TestClientProtocol:
    """Return a client of the management API."""
    settings = Settings(data_dir=Path("nowhere"), internal_secret="geheim")
    opened: TestClientProtocol = management_app(settings, database, redis).test_client()
    return opened


async def ask(client: TestClientProtocol, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Return the status and the JSON of a call."""
    given = {} if body is None else {"json": body}
    response = await client.open(path, method=method, headers=TOKEN, **given)
    return response.status_code, await response.get_json()


@pytest.fixture
def chats(database: Database) -> Chats:
    """Return where chats are stored."""
    return Chats(database)


async def ids(client: TestClientProtocol, query: str = "", path: str = SESSIONS) -> list[str]:
    """Return the ids that a list has."""
    status, answer = await ask(client, "GET", path + query)
    assert status == 200, answer
    return [each["id"] for each in answer["sessions"]]


async def test_sessions_are_listed_by_their_last_use(client: TestClientProtocol, chats: Chats) -> None:
    """With the fields that nSelf's clients read, and to its last page."""
    made = [await chats.talk(f"question {number}") for number in range(5)]
    await chats.talk("again", session_id=UUID(made[0]))
    assert await ids(client) == [made[0], *made[:0:-1]]
    _, answer = await ask(client, "GET", f"{SESSIONS}?page_size=1")
    (first,) = answer["sessions"]
    assert first | {"created_at": "", "last_message_at": ""} == {
        "id": made[0], "key_id": "internal", "title": "question 0", "auto_title": "question 0", "is_renamed": False,
        "tags": [], "project_id": None, "is_admin_mode": False, "parent_session_id": None, "message_count": 4,
        "archived": False, "archived_at": None, "created_at": "", "last_message_at": "",
    }  # fmt: skip
    seen, cursor = [], ""
    while cursor is not None:
        _, answer = await ask(client, "GET", f"{SESSIONS}?page_size=2{cursor and '&cursor=' + cursor}")
        seen += [each["id"] for each in answer["sessions"]]
        cursor = answer["next_cursor"]
    assert seen == [made[0], *made[:0:-1]]


async def test_sessions_of_a_key_or_of_the_internal_token(
    client: TestClientProtocol, chats: Chats, database: Database
) -> None:
    """Each alone."""
    key, _ = await KeyStore(database).create("a")
    of_key, own = await chats.talk("a", key_id=UUID(key.id)), await chats.talk("b")
    assert await ids(client, f"?key_id={key.id}") == [of_key]
    assert await ids(client, "?key_id=internal") == [own]
    assert await ids(client, "/search?q=a", SESSIONS) == [of_key]
    assert await ids(client, "/search?q=a&key_id=internal", SESSIONS) == []


async def test_words_are_found_in_messages_and_titles(client: TestClientProtocol, chats: Chats) -> None:
    """All of them, phrases, or, without; a title before a message; with an excerpt of what fits."""
    nginx = await chats.talk("How do I restart nginx?", "Say: nself restart nginx, and look at <b>its log</b>.")
    certificates = await chats.talk("Where are certificates?", "In nginx, under ssl.")
    titled = await chats.talk("something else")
    await ask(client, "PATCH", f"{SESSIONS}/{titled}", {"title": "All about Nginx"})
    assert await ids(client, "?q=nginx", f"{SESSIONS}/search") == [titled, certificates, nginx]
    assert await ids(client, "?q=restart+nginx", f"{SESSIONS}/search") == [nginx]
    assert await ids(client, "?q=certificates+OR+restart", f"{SESSIONS}/search") != []
    assert await ids(client, "?q=nginx+-restart", f"{SESSIONS}/search") == [titled, certificates]
    assert await ids(client, '?q="its+log"', f"{SESSIONS}/search") == [nginx]
    for nothing in ("absent", "%25", "%22%22", "%3A%2A%26%7C%21"):
        assert await ids(client, f"?q={nothing}", f"{SESSIONS}/search") == []
    _, answer = await ask(client, "GET", f"{SESSIONS}/search?q=log")
    (found,) = answer["sessions"]
    _, listed = await ask(client, "GET", f"{SESSIONS}/{nginx}/messages")
    assert (found["message_id"], answer["is_partial"]) == (listed["messages"][0]["id"], False)
    assert "its log" in found["excerpt"]


async def test_messages_are_listed_newest_first(client: TestClientProtocol, chats: Chats) -> None:
    """In pages by the id of a message; what was superseded is not among them."""
    chat = await chats.talk("one", "1")
    await chats.talk("two", "2", session_id=UUID(chat))
    calls = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    request_id = uuid4()
    await chats.add(
        message("user", "three"),
        message("assistant", "", tool_calls=calls, state="cut"),
        session_id=UUID(chat),
        request_id=request_id,
    )
    _, answer = await ask(client, "GET", f"{SESSIONS}/{chat}/messages?limit=3")
    assert [each["content"] for each in answer["messages"]] == ["", "three", "2"]
    assert answer["has_more"] is True
    called, asked, _ = answer["messages"]
    assert (called["tool_calls"], called["state"], called["tier_source"], called["model"], called["latency_ms"]) == (
        calls, "cut", "local", "smollm2", 5,
    )  # fmt: skip
    assert (asked["role"], asked["tier_source"], "tool_calls" in asked) == ("user", None, False)
    last = answer["messages"][-1]["id"]
    _, answer = await ask(client, "GET", f"{SESSIONS}/{chat}/messages?limit=3&before={last}")
    assert [each["content"] for each in answer["messages"]] == ["two", "1", "one"]
    assert answer["has_more"] is False
    await chats.talk("three!", "3", session_id=UUID(chat), after=(request_id, -1))
    _, answer = await ask(client, "GET", f"{SESSIONS}/{chat}/messages?limit=3")
    assert [each["content"] for each in answer["messages"]] == ["3", "three!", "2"]


async def test_a_page_of_messages_is_bounded_in_bytes(client: TestClientProtocol, chats: Chats) -> None:
    """It has at least one, and says that there are more."""
    long = "x" * (MOST_PAGE_BYTES // 3)
    chat = await chats.add(*(message("user", long) for _ in range(3)))
    before = ""
    for more in (True, True, False):
        _, answer = await ask(client, "GET", f"{SESSIONS}/{chat}/messages?limit=100{before}")
        assert (len(answer["messages"]), answer["has_more"]) == (1, more)
        before = f"&before={answer['messages'][-1]['id']}"


async def test_a_session_is_renamed_and_archived(client: TestClientProtocol, chats: Chats) -> None:
    """What is not given stays; each change has an entry in the audit log, which does not tell the title."""
    chat = await chats.talk("a")
    _, answer = await ask(client, "PATCH", f"{SESSIONS}/{chat}", {"title": "  My plan "})
    assert (answer["title"], answer["is_renamed"], answer["archived"]) == ("My plan", True, False)
    _, answer = await ask(client, "PATCH", f"{SESSIONS}/{chat}", {"archived": True})
    assert (answer["title"], answer["archived"]) == ("My plan", True)
    assert (await ids(client), await ids(client, "?archived=true"), await ids(client, "?archived=all")) == (
        [], [chat], [chat],
    )  # fmt: skip
    at = answer["archived_at"]
    _, answer = await ask(client, "PATCH", f"{SESSIONS}/{chat}", {"archived": True, "title": None})
    assert (answer["title"], answer["archived_at"]) == ("a", at)
    _, answer = await ask(client, "PATCH", f"{SESSIONS}/{chat}", {"archived": False})
    assert await ids(client) == [chat]
    _, log = await ask(client, "GET", "/claw/admin/audit-log")
    assert [entry["operation"] for entry in log["entries"]] == ["change_session"] * 4
    assert log["entries"][-1]["details"]["session_id"] == chat
    assert "My plan" not in str(log)


async def test_deleting_twice_is_no_error(client: TestClientProtocol, chats: Chats, database: Database) -> None:
    """Its messages go with it; what never was is a 404."""
    chat = await chats.talk("a")
    for _ in range(2):
        assert await ask(client, "DELETE", f"{SESSIONS}/{chat}") == (200, {"id": chat, "deleted": True})
    assert await database.fetch("SELECT FROM np_claw_messages") == []
    assert (await ask(client, "GET", f"{SESSIONS}/{chat}/messages"))[0] == 404
    assert (await ask(client, "DELETE", f"{SESSIONS}/{uuid4()}"))[0] == 404


async def test_a_branch_has_the_messages_up_to_one(client: TestClientProtocol, chats: Chats) -> None:
    """Of the same key, with the results of its last message's calls; the old session stays as it is."""
    chat = await chats.talk("one", "1")
    calls = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    await chats.add(message("user", "two"), message("assistant", "", tool_calls=calls), session_id=UUID(chat))
    await chats.add(message("tool", "42", tool_call_id="c1"), message("assistant", "It is 42."), session_id=UUID(chat))
    _, listed = await ask(client, "GET", f"{SESSIONS}/{chat}/messages")
    newest_first = [each["id"] for each in listed["messages"]]
    expected = {0: 6, 1: 5, 2: 5, 3: 3, 4: 2, 5: 1}
    for place, count in expected.items():
        status, made = await ask(client, "POST", f"{SESSIONS}/{chat}/branch", {"message_id": newest_first[place]})
        assert (status, made["message_count"], made["parent_session_id"]) == (201, count, chat)
        _, branched = await ask(client, "GET", f"{SESSIONS}/{made['id']}/messages")
        assert [each["content"] for each in branched["messages"]] == [
            each["content"] for each in listed["messages"][6 - count :]
        ]
    status, made = await ask(client, "POST", f"{SESSIONS}/{chat}/branch")
    assert (status, made["message_count"]) == (201, 6)
    await chats.talk("more", session_id=UUID(made["id"]))
    _, after = await ask(client, "GET", f"{SESSIONS}/{chat}/messages")
    assert after == listed


async def test_a_session_is_exported_whole(client: TestClientProtocol, chats: Chats) -> None:
    """As JSON with each message as it was sent, the superseded ones too; as Markdown to be read."""
    first = uuid4()
    chat = await chats.talk("one", "# 1", request_id=first)
    for number in range(60):
        await chats.talk(f"q{number}", f"a{number}", session_id=UUID(chat))
    await chats.talk("other", "2", session_id=UUID(chat), after=(first, 1))
    await ask(client, "PATCH", f"{SESSIONS}/{chat}", {"title": "Numbers"})
    response = await client.get(f"{SESSIONS}/{chat}/export?format=json", headers=TOKEN)
    assert response.headers["content-disposition"] == f'attachment; filename="session-{chat}.json"'
    exported = await response.get_json()
    assert exported["session"]["title"] == "Numbers"
    assert len(exported["messages"]) == 124
    assert exported["messages"][1]["message"] == {"role": "assistant", "content": "# 1"}
    assert sum(each["superseded_by"] is not None for each in exported["messages"]) == 120
    page = await client.get(f"{SESSIONS}/{chat}/export?format=markdown", headers=TOKEN)
    assert page.headers["content-type"] == "text/markdown; charset=utf-8"
    sections = (await page.get_data(as_text=True)).split("\n## ")
    assert sections[0].startswith("# Numbers\n")
    assert sections[1:] == [
        "User\n\none\n", "Assistant (local smollm2)\n\n# 1\n", "User\n\nother\n", "Assistant (local smollm2)\n\n2\n",
    ]  # fmt: skip


async def test_only_a_session_of_an_admin_has_admin_mode(
    client: TestClientProtocol, chats: Chats, database: Database
) -> None:
    """A plain key's is refused; off it may go always."""
    keys = KeyStore(database)
    plain, _ = await keys.create("plain")
    admin, _ = await keys.create("admin", admin_allowed=True)
    gone, _ = await keys.create("gone", admin_allowed=True)
    of = {key.name: await chats.talk("a", key_id=UUID(key.id)) for key in (plain, admin, gone)}
    of["internal"] = await chats.talk("a")
    await keys.revoke(gone.id)
    mode = "/claw/admin/mode"
    for name, status in (("plain", 403), ("gone", 403), ("admin", 200), ("internal", 200)):
        found, answer = await ask(client, "POST", mode, {"session_id": of[name], "enabled": True})
        assert found == status
        assert answer == {"ok": True} if status == 200 else "admin_allowed" in answer["error"]
    _, listed = await ask(client, "GET", SESSIONS)
    assert {each["id"] for each in listed["sessions"] if each["is_admin_mode"]} == {of["admin"], of["internal"]}
    assert await ask(client, "POST", mode, {"session_id": of["plain"], "enabled": False}) == (200, {"ok": True})
    assert (await ask(client, "POST", mode, {"session_id": str(uuid4()), "enabled": True}))[0] == 404
    assert (await ask(client, "POST", mode, {"session_id": "x", "enabled": True}))[0] == 400
    _, log = await ask(client, "GET", "/claw/admin/audit-log")
    assert {entry["details"]["asked"]["session_id"] for entry in log["entries"]} == set(of.values()) - {of["gone"]}


WRONG: list[tuple[tuple[str, str, Any], str]] = [
    (("GET", "?limit=5", None), "limit"),
    (("GET", "?page_size=0", None), "page_size"),
    (("GET", "?page_size=101", None), "page_size"),
    (("GET", "?page_size=5&page_size=6", None), "page_size"),
    (("GET", "?cursor=x", None), "cursor"),
    (("GET", "?key_id=x", None), "key_id"),
    (("GET", "?archived=maybe", None), "archived"),
    (("GET", "/search", None), "q"),
    (("GET", "/search?q=%20", None), "q"),
    (("GET", "/search?q=a%00b", None), "q"),
    (("GET", f"/search?q={'a' * 1001}", None), "q"),
    (("GET", "/search?q=a&top=5", None), "top"),
    (("GET", "/ID/messages?limit=x", None), "limit"),
    (("GET", "/ID/messages?before=x", None), "before"),
    (("GET", f"/ID/messages?before={uuid4()}", None), "before"),
    (("GET", "/ID/messages?after=1", None), "after"),
    (("GET", "/ID/export?format=pdf", None), "format"),
    (("GET", "/ID/export?as=json", None), "as"),
    (("PATCH", "/ID", {}), "title"),
    (("PATCH", "/ID", {"title": " "}), "title"),
    (("PATCH", "/ID", {"title": "a\x00"}), "title"),
    (("PATCH", "/ID", {"title": "x" * 201}), "title"),
    (("PATCH", "/ID", {"archived": 1}), "archived"),
    (("PATCH", "/ID", {"project_id": "p"}), "project_id"),
    (("PATCH", "/ID?title=x", {"title": "x"}), "title"),
    (("POST", "/ID/branch", {"message_id": "x"}), "message_id"),
    (("POST", "/ID/branch", {"message_id": str(uuid4())}), "message_id"),
    (("POST", "/ID/branch", {"at": 1}), "at"),
]


async def test_what_cannot_be_meant_is_refused_by_name(client: TestClientProtocol, chats: Chats) -> None:
    """400, and nothing changes."""
    chat = await chats.talk("a")
    _, before = await ask(client, "GET", SESSIONS)
    for (method, path, body), named in WRONG:
        status, answer = await ask(client, method, SESSIONS + path.replace("ID", chat), body)
        assert (status, named in answer["error"]) == (400, True), (method, path, answer)
    assert await ask(client, "GET", SESSIONS) == (200, before)


async def test_a_session_that_is_not_there_is_404(client: TestClientProtocol) -> None:
    """An unknown id and one that is none, whatever is asked of it."""
    calls: list[tuple[str, str, Any]] = [
        ("GET", "/messages", None), ("GET", "/export", None), ("PATCH", "", {"archived": True}), ("DELETE", "", None),
        ("POST", "/branch", {}),
    ]  # fmt: skip
    for session_id, (method, path, body) in itertools.product((str(UUID(int=1)), "abc", "a;drop table"), calls):
        status, answer = await ask(client, method, f"{SESSIONS}/{session_id}{path}", body)
        assert (status, answer) == (404, {"error": "There is no session with this id."})


async def test_only_the_internal_token_opens_it(client: TestClientProtocol, database: Database) -> None:
    """Not a key, nor an admin's."""
    _, secret = await KeyStore(database).create("admin", admin_allowed=True)
    for headers in ({}, {"authorization": f"Bearer {secret}"}):
        assert (await client.get(SESSIONS, headers=headers)).status_code == 401
