"""The search for words, in a real database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.postgres.knowledge.queries import MOST_RANKED
from shared.postgres.knowledge.store import Chunk, KnowledgeStore, Scope

if TYPE_CHECKING:
    from shared.postgres.database import Database

EVERYWHERE = Scope()
SIGNS = st.text("a'\\\"-&|!<>():* ")
# Words of an address may have signs in them.
SIGNS_OF_WORDS = st.text("a'\\\"-&").map("example.org/a{}".format)
ANYTHING = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"))


def chunk(name: str, content: str, title: str = "Chunk") -> Chunk:
    """A chunk that only its words make."""
    return Chunk(id=name, category="test", title=title, content=content)


@pytest.fixture
def store(database: Database) -> KnowledgeStore:
    """The store of a fresh database."""
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


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(question=ANYTHING | SIGNS | SIGNS_OF_WORDS)
async def test_no_question_fails(store: KnowledgeStore, question: str) -> None:
    """Whatever quotes, backslashes and operators are in it."""
    assert isinstance(await store.search_text(question, EVERYWHERE, 5), list)
