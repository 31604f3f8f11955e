"""/claw/knowledge, as nSelf's command line and ours call it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import httpx
import pytest

from shared.postgres.database import Database
from tests.fleet import INTERNAL_SECRET, PATIENCE_S, Fleet, Process, ready

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import Eventually

TOKEN: Final = {"x-internal-token": INTERNAL_SECRET}
SEARCH: Final = "/claw/knowledge/search"
HASH: Final = "0" * 64
EVIL: Final = "<script>alert(1)</script>"


@pytest.fixture
async def open_client(fleet: Fleet, eventually: Eventually) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client without a token, as nSelf's command line is; the gateway needs no model for it."""
    api = await fleet.api()
    await fleet.worker()
    await ready(api, eventually)
    async with httpx.AsyncClient(base_url=api.url, timeout=PATIENCE_S) as opened:
        yield opened


@pytest.fixture
async def manager(open_client: httpx.AsyncClient) -> httpx.AsyncClient:
    """Return the same with the token."""
    open_client.headers.update(TOKEN)
    return open_client


def document(name: str = "handbook.md", **chunks: str) -> dict[str, Any]:
    """Return a document of chunks by title."""
    found = [{"title": title, "content": content} for title, content in chunks.items()]
    return {"name": name, "hash": HASH, "chunks": found}


async def ids(
    client: httpx.AsyncClient, question: str, headers: dict[str, str] | None = None, **query: str
) -> list[str]:
    """Return the chunks for a question."""
    reply = await client.get(SEARCH, params={"q": question, **query}, headers=headers)
    assert reply.status_code == 200, reply.text
    return [chunk["id"] for chunk in reply.json()["chunks"]]


async def test_a_question_finds_its_chunk(open_client: httpx.AsyncClient) -> None:
    """In the form that nSelf's command line reads, eight at the most unless `top` says otherwise."""
    reply = await open_client.get(SEARCH, params={"q": "Which keys are there in Redis, and how long do they live?"})
    chunks = reply.json()["chunks"]
    assert len(chunks) == 8
    assert any(chunk["source"] == "docs/redis.md" for chunk in chunks[:3])
    assert set(chunks[0]) >= {"id", "category", "title", "content", "keywords", "commands", "tags", "user_notes"}
    assert reply.headers["x-nself-knowledge-search"] == "text"
    assert len(await ids(open_client, "redis", top="3", category="gateway")) == 3
    assert await ids(open_client, "redis", category="no-such") == []
    assert await ids(open_client, "xyzzy plugh") == []


async def test_no_question_lists_everything(open_client: httpx.AsyncClient) -> None:
    """Page by page, each once; categories and version count the same."""
    version = (await open_client.get("/claw/knowledge/version")).json()
    assert set(version) >= {"version", "schema_version", "description", "categories", "total_chunks"}
    whole = (await open_client.get(SEARCH, params={"q": ""})).json()["chunks"]
    assert len(whole) == version["total_chunks"]
    paged: list[str] = []
    after = ""
    while True:
        page = (await open_client.get(SEARCH, params={"top": "40", "after": after})).json()
        paged += [chunk["id"] for chunk in page["chunks"]]
        if (after := page["next_after"]) is None:
            break
    assert paged == [chunk["id"] for chunk in whole]
    categories = (await open_client.get("/claw/knowledge/categories")).json()["categories"]
    assert [each["category"] for each in categories] == version["categories"]


async def test_documents_are_added_replaced_and_removed(manager: httpx.AsyncClient) -> None:
    """Searched at once; a chunk that its file no longer has is gone."""
    first = document(Vacation="Ask the purple wombat for days off.", Coffee="The machine is on the second floor.")
    made = await manager.post("/claw/knowledge/documents", json=first)
    assert made.status_code == 201, made.text
    (found,) = await ids(manager, "purple wombat")
    assert found.startswith("doc-handbook-md-")
    listed = (await manager.get("/claw/knowledge/documents")).json()["documents"]
    assert [(each["name"], each["hash"], each["chunks"]) for each in listed] == [("handbook.md", HASH, 2)]
    again = await manager.post("/claw/knowledge/documents", json=document(Coffee="The purple machine is broken."))
    assert again.json()["id"] == made.json()["id"]
    assert await ids(manager, "wombat") == []
    assert len(await ids(manager, "purple machine", category="operator")) == 1
    removed = await manager.delete(f"/claw/knowledge/documents/{made.json()['id']}")
    assert removed.json()["removed"] is True
    assert await ids(manager, "purple machine", category="operator") == []
    assert (await manager.delete(f"/claw/knowledge/documents/{made.json()['id']}")).status_code == 404


async def test_a_note_is_part_of_its_chunk(manager: httpx.AsyncClient) -> None:
    """Searched and shown with it, until it is removed."""
    chunk_id = (await ids(manager, "redis"))[0]
    note = {"chunk_id": chunk_id, "note": f"Ours is called zebracorn. {EVIL}"}
    made = await manager.post("/claw/knowledge/notes", json=note)
    assert made.status_code == 201
    assert (await ids(manager, "zebracorn")) == [chunk_id]
    (listed,) = (await manager.get("/claw/knowledge/notes", params={"chunk_id": chunk_id})).json()["notes"]
    assert (listed["id"], listed["note"]) == (made.json()["id"], note["note"])
    shown = (await manager.get(SEARCH, params={"q": "zebracorn"})).json()["chunks"][0]
    assert shown["user_notes"] == [note["note"]]
    gone = await manager.delete(f"/claw/knowledge/notes/{made.json()['id']}")
    assert gone.json() == {"deleted": True}
    assert await ids(manager, "zebracorn") == []
    assert (await manager.delete(f"/claw/knowledge/notes/{made.json()['id']}")).status_code == 404
    unknown = await manager.post("/claw/knowledge/notes", json={"chunk_id": "no-such", "note": "x"})
    assert unknown.status_code == 404


async def test_without_a_token_only_what_is_built_in_is_read(open_client: httpx.AsyncClient) -> None:
    """No documents or notes of the operator and no change, nothing through a proxy or from a browser's page."""
    added = document(Secret="The purple wombat keeps the keys.")
    made = await open_client.post("/claw/knowledge/documents", json=added, headers=TOKEN)
    assert made.status_code == 201
    assert await ids(open_client, "purple wombat") == []
    assert "operator" not in (await open_client.get("/claw/knowledge/version")).json()["categories"]
    whole = (await open_client.get(SEARCH)).json()["chunks"]
    assert whole
    assert not any(chunk["category"] == "operator" for chunk in whole)
    note = {"chunk_id": whole[0]["id"], "note": "Our server is called zebracorn."}
    assert (await open_client.post("/claw/knowledge/notes", json=note, headers=TOKEN)).status_code == 201
    # Not even which chunk it is of; that one is found by its own words, as ever.
    assert await ids(open_client, "zebracorn") == []
    assert "zebracorn" not in (await open_client.get(SEARCH)).text
    assert whole[0]["id"] in await ids(open_client, whole[0]["title"], top="100")
    (chunk_id,) = await ids(open_client, "purple wombat", headers=TOKEN)
    assert (await open_client.get(SEARCH, params={"after": chunk_id})).json()["chunks"] == []
    for headers in ({"x-forwarded-for": "10.0.0.1"}, {"origin": "http://localhost:3713"}, {"x-internal-token": "no"}):
        for path in (SEARCH, "/claw/knowledge/categories", "/claw/knowledge/version"):
            assert (await open_client.get(path, headers=headers)).status_code == 401
    for method, path in (
        ("GET", "/claw/knowledge/notes"),
        ("POST", "/claw/knowledge/notes"),
        ("DELETE", "/claw/knowledge/notes/x"),
        ("GET", "/claw/knowledge/documents"),
        ("POST", "/claw/knowledge/documents"),
        ("DELETE", f"/claw/knowledge/documents/{made.json()['id']}"),
    ):
        assert (await open_client.request(method, path)).status_code == 401


@pytest.mark.parametrize("fleet_environment", [{"CLAW_KNOWLEDGE_WITHOUT_TOKEN": "false"}])
async def test_reading_without_a_token_can_be_turned_off(open_client: httpx.AsyncClient) -> None:
    """For where a proxy on this machine does not say what it passes on."""
    for path in (SEARCH, "/claw/knowledge/categories", "/claw/knowledge/version"):
        assert (await open_client.get(path)).status_code == 401
        assert (await open_client.get(path, headers=TOKEN)).status_code == 200


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("q=x&top=0", "top"),
        ("q=x&top=101", "top"),
        ("q=x&top=+5", "top"),
        ("q=x&limit=5", "limit"),
        ("q=x&q=y", "q"),
        ("q=a%00b", "q"),
        ("category=%00", "category"),
        ("q=" + "x" * 2_001, "q"),
    ],
)
async def test_a_wrong_argument_is_named(open_client: httpx.AsyncClient, query: str, named: str) -> None:
    """In the form of this API's errors."""
    reply = await open_client.get(f"{SEARCH}?{query}")
    assert reply.status_code == 400
    assert named in reply.json()["error"]


ODD: Final = (
    "%FF%FE", quote("'; DROP TABLE x; --"), quote("!!! & | :*"), quote('"unclosed'), "-", "the+of+and",
    quote("\U0001f600"),    "a" * 2_000, "%ED%A0%80",
)  # fmt: skip


@pytest.mark.parametrize("question", ODD)
async def test_no_question_is_too_odd(open_client: httpx.AsyncClient, question: str) -> None:
    """Each is answered, if with nothing."""
    reply = await open_client.get(f"{SEARCH}?q={question}")
    assert reply.status_code == 200, reply.text


@pytest.mark.parametrize(
    "body",
    [
        {"chunk_id": "a\x00", "note": "x"},
        {"chunk_id": "a", "note": "x\x00"},
        {"chunk_id": "a", "note": " "},
        {"chunk_id": "a"},
        {"chunk_id": "a", "note": "x" * 4_001},
        {"chunk_id": "a", "note": "x", "more": 1},
    ],
)
async def test_a_wrong_note_is_refused(manager: httpx.AsyncClient, body: dict[str, Any]) -> None:
    """With a text that says why."""
    reply = await manager.post("/claw/knowledge/notes", json=body)
    assert reply.status_code == 400
    assert reply.json()["error"]


async def test_a_lone_surrogate_is_refused(manager: httpx.AsyncClient) -> None:
    """As JSON can write one."""
    raw = json.dumps({"chunk_id": "a", "note": "\ud800"})
    reply = await manager.post("/claw/knowledge/notes", content=raw)
    assert reply.status_code == 400


@pytest.mark.parametrize(
    "change",
    [
        {"hash": "short"},
        {"chunks": []},
        {"chunks": [{"title": "x", "content": " "}]},
        {"chunks": [{"title": "x\x00", "content": "x"}]},
        {"name": ""},
        {"name": "a\x00"},
        {"category": "No Slug"},
    ],
)
async def test_a_wrong_document_is_refused(manager: httpx.AsyncClient, change: dict[str, Any]) -> None:
    """Nothing of it is stored."""
    reply = await manager.post("/claw/knowledge/documents", json=document(A="text") | change)
    assert reply.status_code == 400, reply.text
    assert (await manager.get("/claw/knowledge/documents")).json()["documents"] == []


async def test_changes_are_in_the_audit_log(manager: httpx.AsyncClient, database_url: str) -> None:
    """Who reads it learns which document, and nothing of its text."""
    made = (await manager.post("/claw/knowledge/documents", json=document(A="a secret text"))).json()["id"]
    await manager.delete(f"/claw/knowledge/documents/{made}")
    async with Database(database_url) as database:
        rows = await database.fetch("SELECT operation, details::text FROM np_claw_audit_log ORDER BY id")
    assert [row["operation"] for row in rows] == ["put_document", "remove_document"]
    assert made in rows[0]["details"]
    assert "handbook.md" in rows[0]["details"]
    assert "secret" not in rows[0]["details"]


async def test_a_gone_database_is_a_503(fleet: Fleet, eventually: Eventually) -> None:
    """With the code that says so."""
    api: Process = await fleet.api(DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")

    async def status() -> int:
        async with httpx.AsyncClient(base_url=api.url, headers=TOKEN, timeout=PATIENCE_S) as client:
            try:
                return (await client.get(SEARCH, params={"q": "redis"})).status_code
            except httpx.ConnectError:
                return 0

    assert await eventually(status) == 503
