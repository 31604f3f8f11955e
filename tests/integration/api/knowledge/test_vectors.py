"""Vectors of the knowledge base: made in the background, and kept by the pgvector of a real PostgreSQL."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, Final, Self

import httpx
import pytest

from shared.postgres.database import Database
from tests.fleet import INTERNAL_SECRET, PATIENCE_S, Fleet, chat, ready
from tests.upstreams.scripted import Answer, Received, ScriptedUpstream, json_answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import Eventually
    from tests.upstreams.numbered import NumberedUpstream

TOKEN: Final = {"x-internal-token": INTERNAL_SECRET}
SEARCH: Final = "/claw/knowledge/search"
SYNONYMS: Final = {"automobile": "car", "vehicle": "car", "puss": "cat", "feline": "cat"}


def vector(text: str, dimensions: int) -> list[float]:
    """Return a vector of a text's words, in which words of one meaning are one."""
    found = [0.001] * dimensions
    for word in re.findall(r"[a-z]+", text.lower()):
        meaning = SYNONYMS.get(word, word)
        found[hashlib.sha256(meaning.encode()).digest()[0] % dimensions] += 1.0
    return found


class Embedder(ScriptedUpstream):
    """A server that embeds by the meanings of words.

    Attributes:
        asked: the bodies of its requests.
        is_failing: whether it answers nothing but errors.
        fails_on: a word: what has it is answered with an error.
    """

    def __init__(self, model: str, dimensions: int = 64) -> None:
        super().__init__(models=(model,))
        self.model = model
        self.dimensions = dimensions
        self.asked: list[dict[str, Any]] = []
        self.is_failing = False
        self.fails_on = ""

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        return self

    def answer_to(self, request: Received) -> Answer:
        """Vectors, or what the base class has."""
        if request.path != "/v1/embeddings":
            return super().answer_to(request)
        if self.is_failing:
            return json_answer({"error": {"message": "no"}}, status=500)
        self.asked.append(request.body)
        inputs = [request.body["input"]] if isinstance(request.body["input"], str) else request.body["input"]
        if self.fails_on and any(self.fails_on in text for text in inputs):
            return json_answer({"error": {"message": "no"}}, status=500)
        data = [{"index": n, "embedding": vector(text, self.dimensions)} for n, text in enumerate(inputs)]
        return json_answer({"data": data, "model": self.model, "usage": {"prompt_tokens": 1, "total_tokens": 1}})


def document(name: str, **chunks: str) -> dict[str, Any]:
    """Return a document of chunks by title."""
    found = [{"title": title, "content": content} for title, content in chunks.items()]
    return {"name": name, "hash": "0" * 64, "chunks": found}


PETS: Final = document("pets.md", Cats="Your cat wants fish.", Cars="Your car wants petrol.", Trees="They want water.")


class Stack:
    """A gateway with an embedding model."""

    def __init__(self, fleet: Fleet, client: httpx.AsyncClient, embedder: Embedder, eventually: Eventually) -> None:
        self.fleet = fleet
        self.client = client
        self.embedder = embedder
        self._eventually = eventually

    async def searched(self) -> dict[str, Any]:
        """Return how the base is searched."""
        found: dict[str, Any] = (await self.client.get("/claw/knowledge/version")).json()["search"]
        return found

    async def until_embedded_by(self, model: str) -> dict[str, Any]:
        """Wait until the vectors of a model serve."""

        async def serves() -> dict[str, Any] | None:
            found = await self.searched()
            return found if found["model"] == model else None

        found: dict[str, Any] = await self._eventually(serves)
        return found

    async def found(self, question: str) -> tuple[list[str], str]:
        """Return the titles for a question among the operator's chunks, and how they were found."""
        reply = await self.client.get(SEARCH, params={"q": question, "category": "operator"})
        assert reply.status_code == 200, reply.text
        return [chunk["title"] for chunk in reply.json()["chunks"]], reply.headers["x-nself-knowledge-search"]


@pytest.fixture
async def stack(fleet: Fleet, eventually: Eventually) -> AsyncIterator[Stack]:
    """Yield one whose base has a document."""
    async with Embedder("one-embed") as embedder:
        api = await fleet.api()
        await fleet.worker(CLAW_LOCAL_EMBEDDINGS_URL=embedder.url + "/v1")
        await ready(api, eventually)
        async with httpx.AsyncClient(base_url=api.url, headers=TOKEN, timeout=PATIENCE_S) as client:
            reply = await client.post("/claw/knowledge/documents", json=PETS)
            assert reply.status_code == 201, reply.text
            yield Stack(fleet, client, embedder, eventually)


async def test_what_is_meant_is_found_by_other_words(stack: Stack) -> None:
    """By words alone until the vectors are there; the answer says which."""
    searched = await stack.until_embedded_by("one-embed")
    assert searched == {
        "how": "hybrid", "pgvector": True, "model": "one-embed", "vectors": searched["vectors"], "failed": 0,
        "making": None, "made": 0,
    }  # fmt: skip
    titles, how = await stack.found("feline")
    assert (titles[0], how) == ("Cats", "hybrid")
    titles, how = await stack.found("automobile")
    assert (titles[0], how) == ("Cars", "hybrid")


async def test_without_the_model_words_alone_answer(stack: Stack, eventually: Eventually) -> None:
    """At once, whatever has become of its server."""
    await stack.until_embedded_by("one-embed")
    stack.embedder.is_failing = True
    assert await stack.found("feline") == ([], "text")
    assert await stack.found("cat") == (["Cats"], "text")
    stack.embedder.is_failing = False

    async def is_back() -> bool:
        return (await stack.found("feline"))[1] == "hybrid"

    await eventually(is_back)


async def test_a_chat_is_told_what_words_find_while_the_embedding_worker_is_away(
    fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """The response says which search it was; and it is both again once the worker is back."""
    async with Embedder("one-embed") as embedder:
        embeds = {"CLAW_LOCAL_OPENAI_URL": "", "CLAW_LOCAL_EMBEDDINGS_URL": embedder.url + "/v1"}
        api, _, embedding_worker = await fleet.api(), await fleet.worker(), await fleet.worker(**embeds)
        await ready(api, eventually)
        async with httpx.AsyncClient(base_url=api.url, headers=TOKEN, timeout=PATIENCE_S) as client:
            await client.post("/claw/knowledge/documents", json=PETS)
            await Stack(fleet, client, embedder, eventually).until_embedded_by("one-embed")

            async def told(question: str) -> tuple[str, bool]:
                body = chat(messages=[{"role": "user", "content": question}])
                reply = await client.post("/v1/chat/completions", json=body, headers={"x-nself-knowledge": "true"})
                assert reply.status_code == 200, reply.text
                given = upstream.requests[-1]["messages"][0]["content"]
                return reply.headers["x-nself-knowledge-search"], "cat wants fish" in given

            assert await told("feline fish") == ("hybrid", True)
            embedding_worker.kill()
            assert await told("fish") == ("text", True)
            await fleet.worker(**embeds)

            async def is_back() -> bool:
                return await told("feline fish") == ("hybrid", True)

            await eventually(is_back)


async def test_what_changes_is_embedded_anew(stack: Stack, eventually: Eventually) -> None:
    """A document that is put in the place of another, and a note; nothing else."""
    await stack.until_embedded_by("one-embed")
    stack.embedder.asked.clear()
    changed = document("pets.md", Cats="Your cat wants fish.", Cars="Your tree wants petrol.", Trees="They want water.")
    await stack.client.post("/claw/knowledge/documents", json=changed)

    async def is_new() -> bool:
        return (await stack.found("automobile"))[0][:1] != ["Cars"]

    def embedded() -> list[str]:
        return [text for body in stack.embedder.asked if isinstance(body["input"], list) for text in body["input"]]

    await eventually(lambda: any("tree wants petrol" in text for text in embedded()))
    assert [text for text in embedded() if "wants fish" in text or "want water" in text] == []
    chunk_id = (await stack.client.get(SEARCH, params={"q": "petrol"})).json()["chunks"][0]["id"]
    await stack.client.post(
        "/claw/knowledge/notes", json={"chunk_id": chunk_id, "note": "It is a zebra. " + "long " * 700}
    )
    await eventually(lambda: any("It is a zebra." in text for text in embedded()))
    # A server that cannot read a text at once fails, and all others behind it would wait.
    assert max(map(len, embedded())) <= 1_500


async def test_a_chunk_that_the_model_fails_on_holds_up_no_other(stack: Stack, eventually: Eventually) -> None:
    """All others have vectors; that one is found by its words, counted, and embedded once its text is another."""
    stack.embedder.fails_on = "wants fish"
    await stack.client.post("/claw/knowledge/documents", json=document("pets.md", Cats="Your cat wants fish. Soon."))
    # More than a batch of them, behind the one that fails.
    more = {f"Pet {number}": f"Pet {number} is a zebra." for number in range(20)}
    await stack.client.post("/claw/knowledge/documents", json=document("more.md", **more))
    searched = await stack.until_embedded_by("one-embed")

    async def all_but_one() -> dict[str, Any] | None:
        reply = (await stack.client.get("/claw/knowledge/version")).json()
        searched: dict[str, Any] = reply["search"]
        return searched if searched["vectors"] == reply["total_chunks"] - 1 else None

    searched = await eventually(all_but_one)
    assert searched["failed"] == 1
    assert "Cats" in (await stack.found("fish"))[0]
    stack.embedder.asked.clear()
    await stack.client.post("/claw/knowledge/documents", json=document("pets.md", Cats="Your cat eats fish."))

    async def all_embedded() -> bool:
        return (await stack.searched())["failed"] == 0 and (await stack.found("feline"))[0][0] == "Cats"

    await eventually(all_embedded)
    # It was not asked again and again meanwhile.
    assert [body["input"] for body in stack.embedder.asked if "wants fish" in str(body["input"])] == []


async def test_another_model_embeds_anew_while_the_old_one_serves(stack: Stack, eventually: Eventually) -> None:
    """Vectors of other dimensions; the old ones are gone then."""
    await stack.until_embedded_by("one-embed")
    async with Embedder("two-embed", dimensions=96) as second:
        second.is_failing = True
        await stack.fleet.worker(CLAW_LOCAL_OPENAI_URL="", CLAW_LOCAL_EMBEDDINGS_URL=second.url + "/v1")
        api = await stack.fleet.api(CLAW_KNOWLEDGE_MODEL="two-embed")
        stack.fleet.processes[0].terminate()
        await ready(api, eventually)
        stack.client = httpx.AsyncClient(base_url=api.url, headers=TOKEN, timeout=PATIENCE_S)
        async with stack.client:

            async def serves_by_the_old_one() -> bool:
                return await stack.found("feline") == (["Cats", "Cars", "Trees"], "hybrid") or (
                    (await stack.found("feline"))[1] == "hybrid"
                )

            await eventually(serves_by_the_old_one)
            assert (await stack.searched())["model"] == "one-embed"
            second.is_failing = False
            await stack.until_embedded_by("two-embed")
            assert (await stack.found("feline"))[0][0] == "Cats"
    async with Database(stack.fleet._database_url) as database:
        rows = await database.fetch("SELECT DISTINCT model FROM np_claw_knowledge_vectors")
    assert [row["model"] for row in rows] == ["two-embed"]


async def test_another_model_of_the_same_name_embeds_anew(stack: Stack, eventually: Eventually) -> None:
    """Whose vectors are longer: no question fails meanwhile, whether it or a new chunk comes first."""
    await stack.until_embedded_by("one-embed")
    for dimensions, name in ((96, "pets.md"), (128, "others.md")):
        stack.embedder.dimensions = dimensions
        if dimensions == 128:
            more = document(name, Dogs="Your dog wants meat.")
            assert (await stack.client.post("/claw/knowledge/documents", json=more)).status_code == 201

        async def serves() -> bool:
            titles, how = await stack.found("feline")
            return (titles[:1], how) == (["Cats"], "hybrid")

        await eventually(serves)


async def test_a_database_without_pgvector_is_searched_by_words(
    fleet: Fleet, database_url: str, eventually: Eventually
) -> None:
    """It says so, where it is asked and once in the log."""
    async with Database(database_url) as database:
        # As where the extension is not installed.
        await database.execute("""
            CREATE OR REPLACE FUNCTION np_claw_knowledge_ensure_vectors() RETURNS boolean LANGUAGE sql AS 'SELECT false'
        """)
    async with Embedder("one-embed") as embedder:
        api = await fleet.api()
        await fleet.worker(CLAW_LOCAL_EMBEDDINGS_URL=embedder.url + "/v1")
        await ready(api, eventually)
        async with httpx.AsyncClient(base_url=api.url, headers=TOKEN, timeout=PATIENCE_S) as client:
            await client.post("/claw/knowledge/documents", json=PETS)
            stack = Stack(fleet, client, embedder, eventually)

            async def has_looked() -> bool:
                return (await stack.searched())["pgvector"] is False

            await eventually(has_looked)
            assert await stack.found("cat") == (["Cats"], "text")
        assert api.log.read_text().count("no pgvector") == 1


async def test_who_never_asks_for_knowledge_pays_nothing_for_it(
    fleet: Fleet, database_url: str, eventually: Eventually
) -> None:
    """Nothing is stored, and no model is asked."""
    async with Embedder("one-embed") as embedder:
        api = await fleet.api()
        await fleet.worker(CLAW_LOCAL_EMBEDDINGS_URL=embedder.url + "/v1")
        await ready(api, eventually)
        async with httpx.AsyncClient(base_url=api.url, headers=TOKEN, timeout=PATIENCE_S) as client:
            asked = {"model": "one-embed", "input": "hello"}
            assert (await client.post("/v1/embeddings", json=asked)).status_code == 200
        assert [json.dumps(body["input"]) for body in embedder.asked] == ['"hello"']
    async with Database(database_url) as database:
        assert await database.fetch("SELECT id FROM np_claw_knowledge_chunks") == []
