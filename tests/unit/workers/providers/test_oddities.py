"""Whatever an upstream does to what is not needed, its answer is the same: a generator over every recorded exchange."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest

from shared.errors import GatewayError
from shared.openai.reply import ChunkEncoder, CompletionFold
from shared.types import Delta, Usage
from tests.upstreams.anthropic.own import OWN
from tests.upstreams.mutations import Oddity, Reply
from tests.upstreams.outcome import WIRES, Outcome, outcome_of
from tests.upstreams.recordings import RECORDINGS
from workers.providers.anthropic.reply import ChatReader as AnthropicReader
from workers.providers.gemini.reply import ChatReader as GeminiReader
from workers.providers.ollama.reply import ChatReader as OllamaReader
from workers.providers.openai.responses.reply import ResponseReader
from workers.providers.openai.wire import ChatReader as OpenAIReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.types import Event
    from workers.providers.http.lines import LineReader

READERS: Final[dict[str, Callable[[], LineReader]]] = {
    "openai": OpenAIReader,
    "openai-responses": ResponseReader,
    "ollama": OllamaReader,
    "gemini": GeminiReader,
    "anthropic": lambda: AnthropicReader("json_reply"),
}
EXCEPTIONS: Final = {("gemini", "thought"): "It alone tells thinking from text."}
"""Fields that are needed although they hold neither text nor calls nor the end, by API and name, and why."""
SAMPLE = 8
"""Of so many oddities one is tried each time, and all of them in the long run."""


def read(wire: str, oddity: Oddity) -> list[Event]:
    """Return the events of a reply; whatever is wrong with it is a GatewayError."""
    reader = READERS[wire]()
    size = oddity.split or len(oddity.body) or 1
    events: list[Event] = []
    for start in range(0, len(oddity.body), size):
        events += reader.feed(oddity.body[start : start + size])
        if reader.done or reader.failure is not None:
            break
    else:
        events += reader.end()
    if reader.failure is not None:
        raise reader.failure
    return events


def told(events: list[Event]) -> tuple[Any, ...]:
    """Return what the client is told; fails where that cannot be encoded."""
    encoder, fold = ChunkEncoder("id", 0, "m", include_usage=True), CompletionFold()
    for event in events:
        fold.add(event)
        if not isinstance(event, Usage):
            assert encoder.encode(event).startswith(b"data: {")
        if isinstance(event, Delta):
            event.logprobs = None  # which are no text
    msgspec.json.decode(fold.body("id", 0, "m", Usage(0, 0)))
    return said(outcome_of([event for event in events if not isinstance(event, Usage)]))


def said(outcome: Outcome) -> tuple[Any, ...]:
    """Text, calls and end of an outcome."""
    return outcome.content, outcome.reasoning, outcome.refusal, outcome.calls, outcome.finish


def is_excepted(wire: str, name: str) -> bool:
    """Return whether an oddity is of a field that is needed after all."""
    place = name.rpartition(":")[2]
    return any(wire == of and place.rpartition(".")[2] == field for of, field in EXCEPTIONS)


def check(wire: str, step: int) -> int:
    """Try one of `step` oddities of every exchange of a wire, each time others; return how many."""
    recordings = [*RECORDINGS, *(OWN if wire == "anthropic" else ())]
    wrong, tried = [], 0
    for number, recording in enumerate(recordings):
        if wire not in recording.replies:
            continue
        expected = told(read(wire, Oddity("none", recording.replies[wire])))
        assert expected == said(recording.outcome), recording.name
        for oddity in list(Reply(wire, recording.replies[wire]).oddities())[number % step :: step]:
            tried += 1
            try:
                found: Any = told(read(wire, oddity))
            except GatewayError as error:
                found = error
            if oddity.is_harmless and found != expected and not is_excepted(wire, oddity.name):
                wrong.append((recording.name, oddity.name, found, expected))
    assert not wrong, f"{len(wrong)} of {tried}: {wrong[:5]}"
    return tried


@pytest.mark.parametrize("wire", WIRES)
def test_an_oddity_that_does_not_matter_loses_no_answer(wire: str) -> None:
    """The text, the calls and the end are the same; and nothing but the gateway's own errors is raised, ever."""
    assert check(wire, SAMPLE) > 100


@pytest.mark.soak
@pytest.mark.parametrize("wire", WIRES)
def test_no_oddity_that_does_not_matter_loses_an_answer(wire: str) -> None:
    """Every one of them."""
    assert check(wire, 1) > 1000


def test_exceptions_are_few() -> None:
    """Each has a reason, and there are ten at the most."""
    assert len(EXCEPTIONS) <= 10
    assert all(EXCEPTIONS.values())
