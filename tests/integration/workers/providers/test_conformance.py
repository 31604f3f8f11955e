"""Every provider against every recording, over real sockets."""

from __future__ import annotations

import pytest

from tests.upstreams.outcome import WIRES, chat, complete, outcome_of, serving
from tests.upstreams.recordings import RECORDINGS, Recording
from tests.upstreams.scripted import Answer, ndjson, sse

CASES = [
    pytest.param(wire, recording, id=f"{wire}-{recording.name.replace(' ', '_')}")
    for recording in RECORDINGS
    for wire in WIRES
    if wire in recording.replies
]
ANSWER = {"openai": sse, "openai-responses": sse, "ollama": ndjson, "gemini": sse, "anthropic": sse}


@pytest.mark.parametrize("split", [None, 1], ids=["whole", "every_byte"])
@pytest.mark.parametrize(("wire", "recording"), CASES)
async def test_a_recording_amounts_to_its_outcome(wire: str, recording: Recording, split: int | None) -> None:
    """What was asked reaches the upstream in its own terms, and its reply comes back whole, however it is split."""
    async with serving(wire) as (upstream, provider):
        upstream.add(ANSWER[wire](recording.replies[wire], split=split))
        try:
            events = await complete(provider, recording.body)
        finally:
            assert outcome_of(events) == recording.outcome
        sent = upstream.requests[0].body
        assert {name: sent.get(name) for name in recording.sent.get(wire, {})} == recording.sent.get(wire, {})


@pytest.mark.parametrize("wire", WIRES)
async def test_events_that_arrive_together_are_one_batch(wire: str) -> None:
    """The consumer can encode and relay several tokens at once."""
    recording = RECORDINGS[0]
    async with serving(wire) as (upstream, provider):
        upstream.add(ANSWER[wire](recording.replies[wire]))
        async with provider.stream(chat(), "scripted") as batches:
            sizes = [len(batch) async for batch in batches]
    # Gemini has no end mark, so that its end comes with the end of the body; Anthropic counts the prompt at the start.
    assert sizes == {"gemini": [2, 2], "anthropic": [5]}.get(wire, [4])


@pytest.mark.parametrize("label", ["text/plain", "application/json; charset=utf-8", "application/octet-stream", None])
@pytest.mark.parametrize("wire", WIRES)
async def test_what_a_reply_is_labelled_does_not_matter(wire: str, label: str | None) -> None:
    """Its text says what it is."""
    async with serving(wire) as (upstream, provider):
        for recording in RECORDINGS:
            if wire in recording.replies:
                upstream.add(Answer([recording.replies[wire]], headers={"content-type": label} if label else {}))
                assert outcome_of(await complete(provider, recording.body)) == recording.outcome
