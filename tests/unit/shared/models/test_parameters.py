"""The table of parameters says what the code does, is complete, and is what docs/api.md shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared.errors import Unsupported
from shared.models.abilities import HINTS, makes_one_choice, omitted, without_prompt
from shared.models.embedding_models import EmbeddingEntry
from shared.models.parameter_tables import with_tables
from shared.models.parameters import (
    COLUMNS,
    EMBEDDING_FIELDS,
    FIELDS,
    SHAPES,
    VALUES,
    WITHOUT_EFFECT,
    Action,
)
from shared.models.providers import endpoints_at
from shared.openai.embeddings import Embedded, EmbeddingsBody, EmbeddingsRequest
from shared.openai.request import ChatBody, ChatRequest
from tests.unit.shared.models.parameter_samples import SAMPLES, USER
from tests.upstreams.ollama.provider import NUM_CTX
from workers.attempts.embedding import embed
from workers.providers.anthropic.models import facts_of
from workers.providers.anthropic.request import to_body as to_anthropic
from workers.providers.gemini.messages import Known
from workers.providers.gemini.request import to_body as to_gemini
from workers.providers.ollama.context import ContextRoom
from workers.providers.ollama.embeddings import to_embed_body as to_ollama_embed
from workers.providers.ollama.request import to_body as to_ollama
from workers.providers.openai.provider import to_embed_body as to_openai_embed
from workers.providers.openai.request import to_body as to_openai

ROOT = Path(__file__).resolve().parents[4]
ELSEWHERE = {
    "model": "the provider's tests", "n": "test_choices.py", "stream": "the provider's tests",
    "stream_options": "the provider's tests", "messages[].tool_call_id": "the provider's tests",
    "tools[].function.strict": "test_schema.py",
}  # fmt: skip
"""Fields whose action shows in something else than the body of one request."""
BY_VALUE = {("service_tier", "gemini")}
"""Fields that this provider translates by other values than the sample's."""


def sent(provider: str, fields: dict[str, Any]) -> Any:
    """Return the body that goes out to a provider for a request with these fields."""
    return sent_of(provider, ChatRequest(json.dumps({"model": "m", "messages": [USER], **fields}).encode()))


def sent_of(provider: str, request: ChatRequest) -> Any:
    """Return the body that goes out to a provider for a request."""
    if provider == "openai":
        return json.loads(to_openai(request, "gpt-4.1"))
    if provider == "gemini":
        return json.loads(to_gemini(request, "gemini-2.5-flash", Known({}, {}, needs_signatures=False)))
    if provider == "anthropic":
        return json.loads(to_anthropic(request, "claude-haiku-4-5", facts_of("claude-haiku-4-5")).content)
    room = ContextRoom(usual=NUM_CTX, most=NUM_CTX, of_model=None, cuts=False)
    return json.loads(to_ollama(request, "m", room).content)


CASES = [(name, provider) for name in SAMPLES for provider in COLUMNS if (name, provider) not in BY_VALUE]


@pytest.mark.parametrize(("name", "provider"), CASES, ids=[f"{name}-{provider}" for name, provider in CASES])
def test_the_table_says_what_the_code_does(name: str, provider: str) -> None:
    """Refused by name, or the body that goes out is another one, or it is the same."""
    without, fields = SAMPLES[name]
    action = FIELDS[name].actions[provider]
    if action is Action.REFUSED:
        with pytest.raises(Unsupported) as caught:
            sent(provider, fields)
        assert caught.value.param is not None
        return
    is_same = sent(provider, fields) == sent(provider, without)
    assert is_same == (action in {Action.IGNORED, Action.OMITTED, Action.HELD}), action
    if action is Action.OMITTED:
        request = ChatRequest(json.dumps({"model": "m", "messages": [USER], **fields}).encode())
        assert name in omitted(request.body, provider)
        assert name in HINTS


def test_the_table_names_every_field_that_openai_does() -> None:
    """And no others; each has a sample, or is shown elsewhere."""
    named = set(json.loads((ROOT / "tests/e2e/schemas/request_fields.json").read_text()))
    assert set(FIELDS) == named - SHAPES
    assert set(SAMPLES) | set(ELSEWHERE) == set(FIELDS)
    assert {name for name in FIELDS if "[" not in name} == set(ChatBody.__struct_fields__)


def test_the_values_are_those_that_openai_names() -> None:
    """Of each field that has a few words only."""
    named = json.loads((ROOT / "tests/e2e/schemas/request_values.json").read_text())
    assert {name: sorted(values) for name, values in VALUES.items()} == named


@pytest.mark.parametrize("name", SAMPLES)
def test_what_is_left_out_is_known_without_the_prompt(name: str) -> None:
    """Each field, and all of those that change nothing, at every API and for models that take none of them."""
    everything = {"user": "u", "store": True, "metadata": {}, "modalities": ["text"], "service_tier": "flex"}
    for fields in (SAMPLES[name][1], {**everything, **SAMPLES[name][1]}):
        body = ChatRequest(json.dumps({"model": "m", "messages": [USER], **fields}).encode()).body
        for provider in COLUMNS:
            for cannot in ((), tuple(HINTS), tuple(WITHOUT_EFFECT), ("logprobs",)):
                assert omitted(without_prompt(body), provider, cannot) == omitted(body, provider, cannot)


def test_an_answer_is_the_same_without_what_others_ignore() -> None:
    """A field is left out where it is refused only if some API is served without it anyway."""
    for name in WITHOUT_EFFECT:
        assert FIELDS[name].actions["ollama"] is Action.IGNORED


def test_choices_are_held_where_the_table_says_so() -> None:
    """By as many calls."""
    held = {name for name, action in FIELDS["n"].actions.items() if action is Action.HELD}
    assert held == {name for name in COLUMNS if makes_one_choice(name)}


def test_the_page_shows_the_tables() -> None:
    """As `make docs` writes it."""
    page = (ROOT / "docs/api.md").read_text()
    assert page == with_tables(page)
    assert page.count("| `encoding_format` |") == page.count("| `messages[].content` |") == 1


EMBEDDING_SAMPLES: dict[str, Any] = {
    "model": "other", "input": "other", "dimensions": 1, "encoding_format": "base64", "user": "u",
}  # fmt: skip
"""Another value of each field of an embeddings request."""


class EmbeddingUpstream:
    """A provider that makes the bodies of a real one, of a server that is not OpenAI's own."""

    def __init__(self, provider: str) -> None:
        self._to_body = {"openai": to_openai_embed, "ollama": to_ollama_embed}[provider]
        self.embeds_as_openai = provider == "openai"
        self.sent: Any = None

    async def embed(self, request: EmbeddingsRequest, model: str) -> Embedded:
        """Return a vector for each input."""
        self.sent = json.loads(self._to_body(request, model))
        return Embedded([[1.0, 0.0]], 1)


async def embedded(provider: str, **fields: Any) -> tuple[Any, bytes]:
    """Return the body that goes out for an embeddings request, and the reply."""
    upstream, known = EmbeddingUpstream(provider), EmbeddingEntry(min_dimensions=1)
    raw = msgspec.Raw(json.dumps({"model": "m", "input": "hello", **fields}).encode())
    body, *_ = await embed(upstream, EmbeddingsRequest(raw), "theirs", known)  # type: ignore[arg-type]  # a double
    return upstream.sent, b"".join(body)


@pytest.mark.parametrize("provider", ["openai", "ollama"])
@pytest.mark.parametrize("name", EMBEDDING_SAMPLES)
async def test_the_table_says_what_becomes_of_embeddings(name: str, provider: str) -> None:
    """What is held here shows in the reply alone; the others make none (`test_embeddings.py`)."""
    (sent, reply), (other, other_reply) = [
        await embedded(provider, **fields) for fields in ({}, {name: EMBEDDING_SAMPLES[name]})
    ]
    action = EMBEDDING_FIELDS[name].actions[provider]
    assert (sent == other) == (action is not Action.PASSED), action
    assert (reply == other_reply) == (action is not Action.HELD and name != "dimensions"), action
    for elsewhere in ("gemini", "anthropic"):
        assert EMBEDDING_FIELDS[name].actions[elsewhere] is Action.REFUSED
        assert "embeddings" not in endpoints_at(elsewhere)


def test_the_table_names_every_field_of_embeddings_that_openai_does() -> None:
    """And no others."""
    named = set(json.loads((ROOT / "tests/e2e/schemas/embedding_fields.json").read_text()))
    assert set(EMBEDDING_FIELDS) == set(EMBEDDING_SAMPLES) == named
    assert set(EmbeddingsBody.__struct_fields__) == named | {"stream"}


async def test_no_field_of_embeddings_is_dropped_in_silence() -> None:
    """Ollama's own go on, and what nobody names is refused; the likes of OpenAI judge for themselves."""
    own = {"keep_alive": "5m", "options": {"num_ctx": 512}}
    sent, _ = await embedded("ollama", **own, stream=False, input_type=None)
    assert sent == {"model": "theirs", "input": ["hello"], "truncate": False, **own}
    with pytest.raises(Unsupported) as caught:
        await embedded("ollama", input_type="query")
    assert (caught.value.param, caught.value.code) == ("input_type", "unknown_parameter")
    assert (await embedded("openai", input_type="query"))[0]["input_type"] == "query"
