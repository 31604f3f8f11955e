"""`nself claw queue` and `logs` beside a running gateway."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.fleet import INTERNAL_SECRET, Fleet, Process, chat
from tests.integration.cli.managed import claw
from tests.streams import Reader, usage_rows
from tests.upstreams.numbered import MODEL, NumberedUpstream, words

if TYPE_CHECKING:
    import httpx

    from tests.conftest import Eventually


@pytest.fixture(autouse=True)
def environment(api: Process, fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command find the gateway."""
    monkeypatch.setenv("NSELF_CLAW_URL", api.url)
    monkeypatch.setenv("PLUGIN_INTERNAL_SECRET", INTERNAL_SECRET)
    monkeypatch.setenv("CLAW_DATA_DIR", str(fleet.directory))


async def test_an_operator_sees_a_request_cancels_it_and_reads_its_story(
    client: httpx.AsyncClient, upstream: NumberedUpstream, fleet: Fleet, eventually: Eventually
) -> None:
    """A line for each backend and request; the story has who cancelled it."""
    upstream.hold_at = 2
    reader = Reader(client)
    await eventually(lambda: reader.content == words(2))
    head, backend = (await claw("queue")).output.splitlines()
    assert head.split()[:3] == ["Backend", "State", "Waiting"]
    assert backend.split()[1:3] == ["open", "0"]
    _, line = (await claw("queue", "list", "--state", "running")).output.splitlines()
    request_id = line.split()[0]
    assert MODEL in line
    shown = (await claw("queue", "show", request_id)).output
    assert ["State:", "answering"] in [each.split() for each in shown.splitlines()]
    assert "It is open" in (await claw("logs", request_id)).output
    assert (await claw("queue", "cancel", request_id)).output == f"Cancelled {request_id}.\n"
    await reader.task
    await usage_rows(fleet, eventually, 1)
    told = await claw("logs", request_id)
    happened = [each.split()[1] for each in told.output.splitlines() if each[2:3] == ":"]
    assert happened == ["admitted", "started", "answering", "cancelled", "ended"]
    assert "the operator" in told.output
    assert "Nothing waits or runs." in (await claw("queue", "list")).output


async def test_the_prompt_of_a_request_is_shown_as_its_client_wrote_it_where_that_is_asked_for(
    client: httpx.AsyncClient, upstream: NumberedUpstream, eventually: Eventually
) -> None:
    """As JSON, and nothing in it moves the cursor."""
    upstream.hold_at = 2
    reader = Reader(client)
    await eventually(lambda: reader.content == words(2))
    asked = {**chat(), "messages": [{"role": "user", "content": "Grüße \x1b[31m\u202e"}]}
    waiting = asyncio.create_task(client.post("/v1/chat/completions", json=asked))
    await eventually(lambda: upstream.held == 2)
    for request_id in [line.split()[0] for line in (await claw("queue", "list")).output.splitlines()[1:]]:
        shown = (await claw("queue", "show", request_id, "--body")).output
        assert '"messages": [' in shown
        if "Gr" in shown:
            assert '"content": "Grüße \\u001b[31m\N{REPLACEMENT CHARACTER}"' in shown
            break
    else:
        pytest.fail("no prompt is the one that was sent")
    assert '"content"' not in (await claw("queue", "show", request_id)).output
    upstream.resume.set()
    await reader.task
    assert (await waiting).status_code == 200


async def test_what_is_not_there_is_said() -> None:
    """With exit code 1, in words."""
    unknown = "req_018f0000000070008000000000000000"
    for command in (("queue", "show", unknown), ("queue", "cancel", unknown), ("queue", "pause", "local:nowhere")):
        ended = await claw(*command)
        assert (ended.exit_code, "The gateway answered 404" in ended.output) == (1, True)
    assert (await claw("logs", unknown)).exit_code == 1
    assert (await claw("logs", "not an id")).exit_code == 2
