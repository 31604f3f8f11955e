"""Durations of searches of the knowledge base among 100,000 synthetic chunks, without the model of the question."""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from api.prompt.knowledge.base import CANDIDATES, Rankings
from bench.report import Report, table
from cli.up.embedded.postgres import EmbeddedPostgres
from shared.postgres.database import Database
from shared.postgres.knowledge.store import KnowledgeStore, Scope
from shared.postgres.knowledge.vectors import VectorStore

if TYPE_CHECKING:
    from bench.report import Options

CHUNKS: Final = 100_000
QUICK_CHUNKS: Final = 10_000
BATCH: Final = 5_000
DIMENSIONS: Final = 384
QUESTIONS: Final = 200
WORDS: Final = 20_000
MODEL: Final = "synthetic"
SHOWN: Final = 8
# Words are as uneven as those of a language: a few are in most chunks.
# WHERE n = n has PostgreSQL make each row's text anew: what depends on no row is made once.
FILL: Final = """
INSERT INTO np_claw_knowledge_chunks (id, category, title, content, keywords, commands, tags, source)
SELECT 'synthetic-' || n, 'category-' || n % 50, text[1] || ' ' || text[2] || ' ' || text[3],
    array_to_string(text, ' '), text[4:6], '{}', '{}', 'bench'
FROM generate_series($1::integer, $2::integer) AS n, LATERAL (
    SELECT array_agg('w' || floor(power(random(), 3) * $3)::integer) AS text FROM generate_series(1, 80) WHERE n = n
) AS made
"""
FILL_VECTORS: Final = """
INSERT INTO np_claw_knowledge_vectors (model, chunk_id, hash, embedding)
SELECT $3, 'synthetic-' || n, '', (SELECT array_agg(random() - 0.5) FROM generate_series(1, $4) WHERE n = n)::vector
FROM generate_series($1::integer, $2::integer) AS n
"""


async def knowledge(options: Options) -> Report:
    """Measure each kind of search, and both with the chunks that they find, one question after the other."""
    chunks = QUICK_CHUNKS if options.rounds == 1 else CHUNKS
    report = Report(f"Knowledge: a search among {chunks:,} chunks, without the model of the question")
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder), throwaway=True)
        async with server as url, Database(url, command_timeout_s=600) as database:
            report.lines.append(f"Filled and indexed in {await _fill(database, chunks):.0f} s.")
            times = await _measured(KnowledgeStore(database), VectorStore(database))
    rows = [(name, *(f"{_part(values, part) * 1e3:.1f}" for part in (0.5, 0.95))) for name, values in times.items()]
    report.lines += table(("search", "p50 ms", "p95 ms"), rows)
    report.raw = {name: [_part(values, part) for part in (0.5, 0.95)] for name, values in times.items()}
    return report


async def _fill(database: Database, chunks: int) -> float:
    """Fill a new database; return how many seconds that took."""
    await database.migrate()
    vectors = VectorStore(database)
    await vectors.ensure()
    began = time.monotonic()
    for first in range(1, chunks, BATCH):
        await database.execute(FILL, first, first + BATCH - 1, WORDS)
        await database.execute(FILL_VECTORS, first, first + BATCH - 1, MODEL, DIMENSIONS)
    await vectors.index(MODEL, DIMENSIONS)
    await database.execute("ANALYZE np_claw_knowledge_chunks, np_claw_knowledge_vectors")
    return time.monotonic() - began


async def _measured(store: KnowledgeStore, vectors: VectorStore) -> dict[str, list[float]]:
    draw = random.Random(14)  # the same questions in every run
    times: dict[str, list[float]] = {"text": [], "vectors": [], "both, with the chunks": []}
    for number in range(QUESTIONS + 10):
        question = " ".join(f"w{int(draw.random() ** 3 * WORDS)}" for _ in range(8))
        vector = [draw.random() - 0.5 for _ in range(DIMENSIONS)]
        began = time.perf_counter()
        by_text = await store.search_text(question, Scope(), CANDIDATES)
        searched = time.perf_counter()
        by_vector = await vectors.nearest(MODEL, vector, Scope(), CANDIDATES)
        found = time.perf_counter()
        await store.chunks(Rankings(by_text, by_vector).fused()[:SHOWN])
        ended = time.perf_counter()
        # The first few fill caches.
        if number >= 10:
            for name, took_s in zip(times, (searched - began, found - searched, ended - began), strict=True):
                times[name].append(took_s)
    return times


def _part(values: list[float], part: float) -> float:
    return sorted(values)[int(part * (len(values) - 1))]
