"""The SQL of the knowledge base, by name. Values are always bound; where a number stands in braces, it is an int."""

from __future__ import annotations

from typing import Final

_COLUMNS: Final = "id, category, title, content, keywords, commands, tags, source"
_CHUNKS: Final = """
jsonb_to_recordset($1::jsonb) AS given(
    id text, category text, title text, content text, keywords text[], commands text[], tags text[], source text
)
"""

# --- what the gateway brings itself ---
LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended('np_claw_knowledge', 0))"
COUNT_WORDS: Final = "ANALYZE np_claw_knowledge_chunks"
STATE: Final = "SELECT value FROM np_claw_knowledge_state WHERE name = $1"
SET_STATE: Final = """
INSERT INTO np_claw_knowledge_state (name, value) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""
# A chunk of a document never passes for one of the gateway's own, whatever its id.
PUT_BUILT_IN: Final = f"""
INSERT INTO np_claw_knowledge_chunks ({_COLUMNS}) SELECT {_COLUMNS} FROM {_CHUNKS}
ON CONFLICT (id) DO UPDATE SET
    category = excluded.category, title = excluded.title, content = excluded.content, keywords = excluded.keywords,
    commands = excluded.commands, tags = excluded.tags, source = excluded.source
WHERE np_claw_knowledge_chunks.document_id IS NULL
"""
REMOVE_OLD_BUILT_IN: Final = "DELETE FROM np_claw_knowledge_chunks WHERE document_id IS NULL AND id <> ALL ($1::text[])"

# --- reading ---
CHUNKS: Final = f"""
SELECT {_COLUMNS}, ARRAY(
    SELECT note FROM np_claw_knowledge_notes AS notes WHERE notes.chunk_id = chunks.id ORDER BY created_at, notes.id
) AS user_notes
FROM np_claw_knowledge_chunks AS chunks
"""
CHUNKS_BY_ID: Final = CHUNKS + "WHERE id = ANY ($1::text[])"
# $2: whether only what the gateway brings itself is wanted.
LIST_CHUNKS: Final = f"""{CHUNKS}
WHERE ($1::text IS NULL OR category = $1) AND (NOT $2 OR document_id IS NULL)
    AND ($3::text IS NULL OR (category, id) > (
        (SELECT category FROM np_claw_knowledge_chunks WHERE id = $3 AND (NOT $2 OR document_id IS NULL)), $3
    ))
ORDER BY category, id LIMIT $4
"""
CATEGORIES: Final = """
SELECT category, count(*) AS chunks FROM np_claw_knowledge_chunks WHERE NOT $1 OR document_id IS NULL
GROUP BY category ORDER BY category
"""
# A question's words are alternatives, and the rank says which of them a chunk has, and where: with all of them asked
# for, hardly a sentence would find anything. Who excludes a word (-word) or quotes some ("some words") means it.
#
# The rarer a word, the more it tells (as in BM25), and one that is in much of a large base finds too many chunks to
# rank in time. So as many of the rarest words as are in MOST_RANKED chunks together find them; all words rank those.
# How frequent a word is say the statistics of ANALYZE; without them every word finds, and all tell the same.
MOST_RANKED: Final = 1_000
_LEXEMES: Final = "unnest(tsvector_to_array(to_tsvector('english', $1))) AS lexeme"
_WORD: Final = "($$'$$ || regexp_replace(lexeme, $$(['\\\\])$$, $$\\1\\1$$, 'g') || $$'$$)::tsquery AS word"
_QUESTION: Final = """
asked AS (
    SELECT CASE
        WHEN strict::text LIKE '%!%' THEN strict
        WHEN $1 LIKE '%"%' THEN replace(strict::text, ' & ', ' | ')::tsquery
        ELSE (SELECT string_agg(word::text, ' | ')::tsquery FROM words WHERE is_used)
    END AS query
    FROM websearch_to_tsquery('english', $1) AS strict
)
"""
_RANK: Final = "(SELECT sum(weight * ts_rank('{0.5, 0.6, 0.7, 1.0}', search, word, 1)) FROM words) AS rank"
SEARCH_TEXT: Final = f"""
WITH base AS (
    SELECT greatest(reltuples, 1) AS size FROM pg_class WHERE oid = 'np_claw_knowledge_chunks'::regclass
),
frequent AS MATERIALIZED (
    SELECT lexeme, part * size AS chunks FROM base, pg_stats,
        unnest(most_common_elems::text::text[], most_common_elem_freqs) AS common(lexeme, part)
    WHERE schemaname = current_schema() AND tablename = 'np_claw_knowledge_chunks' AND attname = 'search'
),
counted AS (
    SELECT {_WORD}, ln(1 + size / (coalesce(chunks, 0) + 1)) AS weight,
        sum(coalesce(chunks, 0)) OVER (ORDER BY coalesce(chunks, 0), lexeme) AS together,
        row_number() OVER (ORDER BY coalesce(chunks, 0), lexeme) AS place
    FROM base, {_LEXEMES} LEFT JOIN frequent USING (lexeme)
),
words AS MATERIALIZED (SELECT word, weight, place = 1 OR together <= {MOST_RANKED} AS is_used FROM counted),
{_QUESTION}
SELECT id, {_RANK} FROM np_claw_knowledge_chunks, asked WHERE search @@ query AND ($2::text IS NULL OR category = $2)
ORDER BY rank DESC NULLS LAST, id LIMIT $3
"""
# For who may know neither the operator's documents nor the notes: not even by how words weigh.
SEARCH_BUILT_IN_TEXT: Final = f"""
WITH own AS MATERIALIZED (
    SELECT id, category, coalesce(search_without_notes, search) AS search
    FROM np_claw_knowledge_chunks WHERE document_id IS NULL
),
words AS MATERIALIZED (
    SELECT word, true AS is_used,
        ln(1 + (SELECT count(*) FROM own) / ((SELECT count(*) FROM own WHERE search @@ word) + 1.0)) AS weight
    FROM (SELECT {_WORD} FROM {_LEXEMES}) AS asked_for
),
{_QUESTION}
SELECT id, {_RANK} FROM own, asked WHERE search @@ query AND ($2::text IS NULL OR category = $2)
ORDER BY rank DESC NULLS LAST, id LIMIT $3
"""

# --- notes ---
ADD_NOTE: Final = """
INSERT INTO np_claw_knowledge_notes (chunk_id, note)
SELECT id, $2 FROM np_claw_knowledge_chunks WHERE id = $1 RETURNING id
"""
LIST_NOTES: Final = """
SELECT id, chunk_id, note, created_at FROM np_claw_knowledge_notes WHERE $1::text IS NULL OR chunk_id = $1
ORDER BY created_at, id LIMIT $2
"""
REMOVE_NOTE: Final = "DELETE FROM np_claw_knowledge_notes WHERE id = $1 RETURNING id"

# --- documents ---
LIST_DOCUMENTS: Final = """
SELECT id, name, hash, created_at, updated_at,
    (SELECT count(*) FROM np_claw_knowledge_chunks AS chunks WHERE chunks.document_id = documents.id) AS chunks
FROM np_claw_knowledge_documents AS documents WHERE $1::text IS NULL OR name > $1 ORDER BY name LIMIT $2
"""
PUT_DOCUMENT: Final = """
INSERT INTO np_claw_knowledge_documents (name, hash) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET hash = excluded.hash, updated_at = now() RETURNING id
"""
REMOVE_OLD_OF_DOCUMENT: Final = "DELETE FROM np_claw_knowledge_chunks WHERE document_id = $1 AND id <> ALL ($2::text[])"
PUT_OF_DOCUMENT: Final = f"""
INSERT INTO np_claw_knowledge_chunks (document_id, {_COLUMNS}) SELECT $2, {_COLUMNS} FROM {_CHUNKS}
ON CONFLICT (id) DO UPDATE SET
    category = excluded.category, title = excluded.title, content = excluded.content, keywords = excluded.keywords,
    commands = excluded.commands, tags = excluded.tags, source = excluded.source
WHERE np_claw_knowledge_chunks.document_id = excluded.document_id
"""
# A note outlives its chunk, which may come back, and so refers to it by its id alone: nothing cascades to it.
REMOVE_NOTES_OF_DOCUMENT: Final = """
DELETE FROM np_claw_knowledge_notes USING np_claw_knowledge_chunks AS chunks
WHERE chunks.id = chunk_id AND chunks.document_id = $1
"""
REMOVE_DOCUMENT: Final = "DELETE FROM np_claw_knowledge_documents WHERE id = $1 RETURNING name"

# --- vectors ---
ENSURE_VECTORS: Final = "SELECT np_claw_knowledge_ensure_vectors() AS is_there"
# Of a chunk with keywords its title and these say best what it is about: with all its text its vector is near to much.
# Of long notes the beginning: model servers fail on what is longer than they read at once (llama.cpp: 512 tokens).
UNEMBEDDED: Final = """
SELECT id, chunks.hash, left(concat_ws(E'\n', title,
    CASE WHEN cardinality(keywords) > 0 THEN array_to_string(keywords, ', ') ELSE left(content, 500) END,
    nullif(np_claw_knowledge_notes_of(id), '')), 1500) AS text
FROM np_claw_knowledge_chunks AS chunks
LEFT JOIN np_claw_knowledge_vectors AS vectors ON vectors.model = $1 AND vectors.chunk_id = id
WHERE vectors.hash IS DISTINCT FROM chunks.hash AND NOT EXISTS (
    SELECT FROM np_claw_knowledge_failures AS failures
    WHERE failures.model = $1 AND failures.chunk_id = id AND failures.hash = chunks.hash AND again_at > now()
)
LIMIT $2
"""
# Tried again after a minute, then after twice as long each time, up to a day.
SET_ASIDE: Final = """
INSERT INTO np_claw_knowledge_failures AS failures (model, chunk_id, hash, reason)
SELECT $1, id, hash, $4 FROM np_claw_knowledge_chunks WHERE id = $2 AND hash = $3
ON CONFLICT (model, chunk_id) DO UPDATE SET
    hash = excluded.hash, reason = excluded.reason,
    tries = CASE WHEN failures.hash = excluded.hash THEN failures.tries + 1 ELSE 1 END,
    again_at = CASE WHEN failures.hash = excluded.hash
        THEN now() + least(interval '1 minute' * 2 ^ least(failures.tries, 11), interval '1 day')
        ELSE excluded.again_at END
"""
TAKE_BACK: Final = "DELETE FROM np_claw_knowledge_failures WHERE model = $1 AND chunk_id = ANY ($2::text[])"
REMOVE_OTHER_FAILURES: Final = "DELETE FROM np_claw_knowledge_failures WHERE model <> $1"
COUNT_FAILURES: Final = """
SELECT count(DISTINCT id) AS count FROM np_claw_knowledge_failures AS failures
JOIN np_claw_knowledge_chunks AS chunks ON id = chunk_id AND chunks.hash = failures.hash
WHERE ($1::text IS NULL OR model = $1) AND (NOT $2 OR document_id IS NULL)
"""
PUT_VECTORS: Final = """
INSERT INTO np_claw_knowledge_vectors (model, chunk_id, hash, embedding)
SELECT $1, given.id, given.hash, given.embedding::vector
FROM unnest($2::text[], $3::bytea[], $4::text[]) AS given(id, hash, embedding)
JOIN np_claw_knowledge_chunks AS chunks ON chunks.id = given.id AND chunks.hash = given.hash
ON CONFLICT (model, chunk_id) DO UPDATE SET hash = excluded.hash, embedding = excluded.embedding
"""
COUNT_VECTORS: Final = """
SELECT model, count(*) AS count FROM np_claw_knowledge_vectors AS vectors
JOIN np_claw_knowledge_chunks AS chunks ON id = chunk_id AND chunks.hash = vectors.hash
WHERE NOT $1 OR document_id IS NULL GROUP BY model
"""
COUNT_TO_INDEX: Final = "SELECT count(*) FROM np_claw_knowledge_vectors WHERE model = $1"
DIMENSIONS: Final = """
SELECT vector_dims(embedding) AS dimensions FROM np_claw_knowledge_vectors WHERE model = $1 LIMIT 1
"""
FORGET_VECTORS: Final = "DELETE FROM np_claw_knowledge_vectors WHERE model = $1"
REMOVE_OTHER_VECTORS: Final = "DELETE FROM np_claw_knowledge_vectors WHERE model <> $1"
# A digest: PostgreSQL's names have 63 bytes at the most, those of models may be longer.
INDEX_NAMES: Final = """
SELECT 'np_claw_knowledge_vectors_' || left(md5($1 || ' ' || $2::integer), 12) AS name, quote_literal($1) AS model
"""
DROP_INDEX: Final = "DROP INDEX IF EXISTS {name}"
HAS_INDEX: Final = "SELECT to_regclass($1) IS NOT NULL"
INDEX_VECTORS: Final = """
CREATE INDEX IF NOT EXISTS {name} ON np_claw_knowledge_vectors
USING hnsw ((embedding::vector({dimensions})) vector_cosine_ops) WHERE model = {model}
"""
LOOK_AT: Final = "SELECT set_config('hnsw.ef_search', $1, true)"
# With a further condition PostgreSQL would rather read the whole table than the index.
NEAREST: Final = """
SELECT chunk_id FROM np_claw_knowledge_vectors WHERE model = $1
ORDER BY embedding::vector({dimensions}) <=> $2::text::vector({dimensions}) LIMIT $3
"""
# Without the index: what is looked for may be few among many. A vector is of the notes too: who may not know of them
# finds such a chunk by its words alone.
NEAREST_IN_SCOPE: Final = """
WITH wanted AS MATERIALIZED (
    SELECT chunk_id, embedding::vector({dimensions}) <=> $2::text::vector({dimensions}) AS distance
    FROM np_claw_knowledge_chunks AS chunks JOIN np_claw_knowledge_vectors ON chunk_id = id AND model = $1
    WHERE vector_dims(embedding) = {dimensions} AND ($4::text IS NULL OR category = $4)
        AND (NOT $5 OR document_id IS NULL AND search_without_notes IS NULL)
)
SELECT chunk_id FROM wanted ORDER BY distance LIMIT $3
"""
