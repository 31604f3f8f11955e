"""The search for words, in a real database."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.postgres.knowledge.queries import MOST_RANKED, NEAREST
from shared.postgres.knowledge.store import Chunk, KnowledgeStore, Scope
from shared.postgres.knowledge.vectors import VectorStore

if TYPE_CHECKING:
    from shared.postgres.database import Database

EVERYWHERE = Scope()
SIGNS = st.text("a'\\\"-&|!<>():* ")
# Words of an address may have signs in them.
SIGNS_OF_WORDS = st.text("a'\\\"-&").map("example.org/a{}".format)
ANYTHING = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"))


def chunk(name: str, content: str, title: str = "Chunk") -> Chunk:
    """Return a chunk that only its words make."""
    return Chunk(id=name, category="test", title=title, content=content)


@pytest.fixture
def store(database: Database) -> KnowledgeStore:
    """Return the store of a fresh database."""
    return KnowledgeStore(database)


async def test_rare_words_tell_more_than_frequent_ones(store: KnowledgeStore) -> None:
    """A chunk with the one rare word comes before all that have both of the frequent ones."""
    frequent = [chunk(f"frequent-{number}", "server restart") for number in range(60)]
    await store.put_built_in([*frequent, chunk("rare", "the certificate of the server")], "1")
    assert (await store.search_text("restart server certificate", EVERYWHERE, 5))[0] == "rare"


async def test_of_a_large_base_words_that_are_in_much_of_it_do_not_find(store: KnowledgeStore) -> None:
    """They would find more chunks than can be ranked in time; they still rank what the rarer words find."""
    frequent = [chunk(f"frequent-{number}", "server") for number in range(MOST_RANKED + 10)]
    rare = [chunk("rare", "a certificate of Alice"), chunk("rare-both", "a certificate of the server")]
    await store.put_built_in([*frequent, *rare], "1")
    assert await store.search_text("server certificate", EVERYWHERE, 5) == ["rare-both", "rare"]


async def test_a_word_that_is_in_all_of_a_large_base_finds_where_it_is_alone(store: KnowledgeStore) -> None:
    """Something rather than nothing, and the title counts most."""
    frequent = [chunk(f"frequent-{number}", "server") for number in range(MOST_RANKED + 10)]
    await store.put_built_in([*frequent, chunk("title", "server", title="Server")], "1")
    assert (await store.search_text("server", EVERYWHERE, 5))[0] == "title"


async def test_without_statistics_every_word_finds(store: KnowledgeStore, database: Database) -> None:
    """A base that was never analysed is searched all the same."""
    await store.put_built_in([], "1")
    await database.execute(
        "INSERT INTO np_claw_knowledge_chunks (id, category, title, content, keywords, commands, tags, source)"
        " SELECT word, 'test', 'Chunk', word, '{}', '{}', '{}', '' FROM unnest(ARRAY['key', 'server']) AS word"
    )
    assert await store.search_text("server key", EVERYWHERE, 5) == ["key", "server"]


async def test_a_word_is_excluded_and_words_stand_together_where_that_is_asked(store: KnowledgeStore) -> None:
    """Both as the syntax of web searches has it."""
    chunks = [
        chunk("together", "restart the server"),
        chunk("apart", "the server, then a restart"),
        chunk("one", "server"),
    ]
    await store.put_built_in(chunks, "1")
    assert await store.search_text("server -restart", EVERYWHERE, 5) == ["one"]
    assert await store.search_text('"restart the server"', EVERYWHERE, 5) == ["together"]


@settings(
    max_examples=2 * settings().max_examples, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(question=ANYTHING | SIGNS | SIGNS_OF_WORDS)
async def test_no_question_fails(store: KnowledgeStore, question: str) -> None:
    """Whatever quotes, backslashes and operators are in it."""
    assert isinstance(await store.search_text(question, EVERYWHERE, 5), list)


async def test_who_may_not_know_of_notes_finds_as_if_there_were_none(store: KnowledgeStore, database: Database) -> None:
    """Neither by their words, nor in another order; a note that is gone is gone for all."""
    await store.put_built_in([chunk("noted", "server"), chunk("other", "server")], "1")
    own = Scope(is_built_in=True)
    note_id = await store.add_note("noted", "the zebracorn server")
    assert note_id is not None
    assert await store.search_text("zebracorn", EVERYWHERE, 5) == ["noted"]
    assert await store.search_text("zebracorn", own, 5) == []
    assert await store.search_text("server", own, 5) == ["noted", "other"]
    assert await store.search_text("server -zebracorn", own, 5) == ["noted", "other"]
    assert await store.search_text('"zebracorn server"', own, 5) == []
    await store.remove_note(UUID(note_id))
    (row,) = await database.fetch("SELECT search_without_notes FROM np_claw_knowledge_chunks WHERE id = 'noted'")
    assert row["search_without_notes"] is None


async def test_a_chunk_that_a_model_fails_on_waits_longer_each_time(store: KnowledgeStore, database: Database) -> None:
    """Another text of it is tried at once; and a vector is the end of it."""
    vectors = VectorStore(database)
    await vectors.ensure()
    await store.put_built_in([chunk("bad", "one text")], "1")
    (bad,) = await vectors.unembedded("e5", 10)
    waits = []
    for _ in range(13):
        await vectors.set_aside("e5", bad, "upstream_error")
        (row,) = await database.fetch("""
            SELECT round(extract(epoch FROM again_at - now()) / 60) AS minutes FROM np_claw_knowledge_failures
        """)
        waits.append(int(row["minutes"]))
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1440, 1440]
    assert await vectors.unembedded("e5", 10) == []
    assert [each.id for each in await vectors.unembedded("other", 10)] == ["bad"]
    assert (await vectors.count_set_aside("e5"), await vectors.count_set_aside("other")) == (1, 0)
    await database.execute("UPDATE np_claw_knowledge_failures SET again_at = now()")
    assert await vectors.unembedded("e5", 10) == [bad]
    await store.put_built_in([chunk("bad", "another text")], "2")
    (changed,) = await vectors.unembedded("e5", 10)
    assert await vectors.count_set_aside("e5") == 0
    await vectors.put("e5", [changed], [[0.5, 0.5]])
    assert await database.fetch("SELECT * FROM np_claw_knowledge_failures") == []


async def test_a_vector_counts_for_its_chunk_as_it_is_now(store: KnowledgeStore, database: Database) -> None:
    """By model: those of another one are being made while the old ones serve."""
    vectors = VectorStore(database)
    await vectors.ensure()
    await store.put_built_in([chunk("a", "one text"), chunk("b", "another")], "1")
    old = await vectors.unembedded("old", 10)
    await vectors.put("old", old, [[0.5, 0.5]] * 2)
    await vectors.put("new", old[:1], [[0.5, 0.5, 0.5]])
    assert await vectors.counts() == await vectors.counts(is_built_in=True) == {"old": 2, "new": 1}
    await store.put_built_in([chunk("a", "one text"), chunk("b", "yet another")], "2")
    assert await vectors.counts() == {"old": 1, "new": 1}


async def test_many_vectors_are_searched_by_their_index(store: KnowledgeStore, database: Database) -> None:
    """Those of one length: a question of another one finds nothing, and fails nothing."""
    vectors = VectorStore(database)
    await vectors.ensure()
    await store.put_built_in([chunk("first", "text")], "1")
    await database.execute("""
        INSERT INTO np_claw_knowledge_chunks (id, category, title, content, keywords, commands, tags, source)
        SELECT 'chunk-' || n, 'test', '', '', '{}', '{}', '{}', '' FROM generate_series(1, 5000) AS n
    """)
    await database.execute("""
        INSERT INTO np_claw_knowledge_vectors (model, chunk_id, hash, embedding)
        SELECT 'e5', id, '', ARRAY[random(), random(), random()]::vector FROM np_claw_knowledge_chunks
    """)
    await vectors.index("e5", 3)
    await database.execute("ANALYZE np_claw_knowledge_vectors")
    plan = await database.fetch("EXPLAIN " + NEAREST.format(dimensions=3), "e5", "[1,0,0]", 50)
    assert any("Index Scan using np_claw_knowledge_vectors_" in row[0] for row in plan), plan
    assert len(await vectors.nearest("e5", [1.0, 0.0, 0.0], EVERYWHERE, 50)) == 50
    assert await vectors.nearest("e5", [1.0, 0.0], EVERYWHERE, 50) == []
