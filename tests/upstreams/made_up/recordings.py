"""The made-up provider's part of each recording: that of OpenAI, whose words it speaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.upstreams.recordings import Recording

WIRE = "made-up"


def teach(recording: Recording) -> None:
    """Give a recording its made-up side."""
    if "openai" in recording.replies:
        recording.replies[WIRE] = recording.replies["openai"]
