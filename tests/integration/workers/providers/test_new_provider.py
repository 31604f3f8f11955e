"""A new provider brings a folder of what its API says, and passes what it can do of it. Nothing else names it."""

from __future__ import annotations

import pytest

from tests.upstreams.made_up.recordings import WIRE
from tests.upstreams.outcome import complete, outcome_of, serving
from tests.upstreams.recordings import RECORDINGS, Recording
from tests.upstreams.scripted import sse

TAUGHT = [recording for recording in RECORDINGS if WIRE in recording.replies]


@pytest.mark.parametrize("recording", TAUGHT, ids=lambda recording: recording.name)
async def test_a_recording_amounts_to_its_outcome(recording: Recording) -> None:
    """As for every provider that there is."""
    async with serving(WIRE) as (upstream, provider):
        upstream.add(sse(recording.replies[WIRE]))
        assert outcome_of(await complete(provider, recording.body)) == recording.outcome
