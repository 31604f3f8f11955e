"""Names that a client makes up: they write no line of the log and steer no terminal that shows it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.fleet import chat
from tests.upstreams.numbered import MODEL

if TYPE_CHECKING:
    import httpx

    from tests.conftest import Eventually
    from tests.fleet import Fleet
    from tests.upstreams.numbered import NumberedUpstream

FORGED = "2026-01-01T00:00:00.000Z CRITICAL api all is lost"
CHARACTERS = ("\n", "\r", "\r\n", "\x1b[2J", "\x9b2J", "\x7f", "\u2028", "\u202e", "\u2066", "\0", "\x85", "\x08" * 40)
_LINE = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z [A-Z]+ | {2}")


@pytest.fixture
def fleet_environment() -> dict[str, str]:
    """Return what has the log say all that it ever says."""
    return {"CLAW_LOG_LEVEL": "DEBUG"}


async def test_what_a_client_names_stands_in_one_line_of_the_log(
    client: httpx.AsyncClient, fleet: Fleet, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """A model, a header, a path, and what a model server says of a failure."""
    for character in CHARACTERS:
        name = f"model{character}{FORGED}"
        asked = [
            await client.post("/v1/chat/completions", json=chat(model=name)),
            await client.post("/v1/chat/completions", json=chat(model=f"gpt-{name}")),
            await client.post("/v1/embeddings", json={"model": name, "input": "a"}),
            await client.post("/v1/responses", json={"model": name, "input": name}),
            await client.get("/v1/models/" + "".join(f"%{byte:02x}" for byte in name.encode())),
            await client.get("/claw/v1/" + "".join(f"%{byte:02x}" for byte in name.encode())),
        ]
        assert {reply.status_code // 100 for reply in asked} == {4}
        upstream.reason, upstream.failures = name, [500, 500, 500]
        assert (await client.post("/v1/chat/completions", json=chat(model=MODEL))).status_code == 502

    async def all_logged() -> bool:
        return len(await fleet.usage("chat", "embeddings", "responses")) >= len(CHARACTERS) * 4

    await eventually(all_logged)
    written = "".join(process.log.read_text(errors="surrogateescape") for process in fleet.processes)
    assert FORGED in written, "else nothing of it is in the log at all"
    lines = written.split("\n")
    assert [line for line in lines if line and not _LINE.match(line)] == []
    assert [line for line in lines if line.startswith(FORGED)] == []
    assert {character for text in CHARACTERS for character in text if not character.isprintable()} & set(
        "".join(lines)
    ) == set()
