"""What each API's own list of models says goes into what is announced of them, whatever its shape."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.types import LocalModel
from workers.providers.anthropic.models import ModelInfo, facts_of
from workers.providers.gemini.models import Model as GeminiModel
from workers.providers.openai.models import ModelList, TemplateAbilities

YES, NO = {"supported": True}, {"supported": False}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def claude(capabilities: Any, model: str = "claude-opus-4-5") -> ModelInfo:
    """Return a model as Anthropic lists it."""
    return msgspec.json.decode(msgspec.json.encode({"id": model, "capabilities": capabilities}), type=ModelInfo)


def openai(model: dict[str, Any]) -> LocalModel:
    """Return a model as OpenAI lists it."""
    found = msgspec.json.decode(msgspec.json.encode({"data": [{"id": "m", **model}]}), type=ModelList)
    return found.to_models(TemplateAbilities())[0]


def test_anthropics_capabilities_are_what_a_model_can_and_cannot() -> None:
    """Images, PDF and thinking; what is not said is left to the tables."""
    made = claude({"image_input": NO, "pdf_input": YES, "thinking": NO}).to_model(1)
    assert (made.cannot, made.can) == (("images", "reasoning_effort"), ("files",))
    plain = LocalModel("claude-opus-4-5", 1, endpoints=("chat",), max_output_tokens=64_000)
    assert claude(None).to_model(1) == plain


def test_anthropics_capabilities_correct_the_table_of_facts() -> None:
    """How it thinks and with which efforts, and structured outputs."""
    told = {
        "thinking": {**YES, "types": {"adaptive": YES, "enabled": YES}},
        "effort": {**YES, "low": YES, "high": YES, "medium": NO, "xhigh": None},
        "structured_outputs": NO,
    }
    facts = claude(told).to_facts()
    assert (facts.thinking, facts.efforts, facts.structured) == ("adaptive", ("low", "high"), False)
    assert claude({"thinking": {**YES, "types": {"enabled": YES}}}).to_facts().thinking == "manual"
    assert claude({"thinking": NO}).to_facts().thinking == "none"


@given(json_values)
def test_capabilities_of_any_shape_lose_no_model(value: Any) -> None:
    """What cannot be read says nothing."""
    for capabilities in (value, {"thinking": value}, {"effort": {"low": value}}, {"image_input": {"supported": value}}):
        info = claude(capabilities)
        assert info.to_model(1).id == "claude-opus-4-5"
        assert info.to_facts().max_output == facts_of("claude-opus-4-5").max_output


@given(json_values)
def test_a_shutdown_date_of_any_shape_loses_no_model(value: Any) -> None:
    """As above."""
    assert openai({"shutdown_date": value}).id == "m"


@pytest.mark.parametrize(
    ("given_date", "day"),
    [
        ("2026-12-11", "2026-12-11"),
        ("2026-12-11T08:00:00Z", "2026-12-11"),
        (1_796_947_200, "2026-12-11"),
        (None, ""),
        ("soon", ""),
    ],
)
def test_openai_says_when_a_model_ends(given_date: Any, day: str) -> None:
    """As a date or in seconds."""
    assert openai({"shutdown_date": given_date}).shutdown == day


@pytest.mark.parametrize(
    ("thinking", "cannot", "can"),
    [(True, (), ("reasoning_effort",)), (False, ("reasoning_effort",), ()), ("x", (), ())],
)
def test_google_says_whether_a_model_thinks(thinking: Any, cannot: tuple[str, ...], can: tuple[str, ...]) -> None:
    """Older answers do not."""
    made = msgspec.convert({"name": "models/gemini-x", "thinking": thinking}, GeminiModel).to_model()
    assert (made.id, made.cannot, made.can) == ("gemini-x", cannot, can)


@pytest.mark.parametrize(
    ("name", "cannot"),
    [("gemma-3-27b-it", ("tools", "response_format", "reasoning_effort")), ("gemma-4-31b-it", ())],
)
def test_what_google_does_not_say_of_gemma_is_known_by_its_name(name: str, cannot: tuple[str, ...]) -> None:
    """Its third generation has neither tools nor schemas nor thoughts, whatever the list says."""
    made = msgspec.convert({"name": f"models/{name}", "thinking": True}, GeminiModel).to_model()
    assert (made.cannot, made.can) == (cannot, () if cannot else ("reasoning_effort",))
