"""shared/models/rejected_parameters.py."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.errors import ParameterUnsupported
from shared.models.abilities import omitted, unsupported
from shared.models.rejected_parameters import adapted, is_valid, lacking, rejected_ability
from shared.openai.request import ChatRequest

FIELDS: dict[str, Any] = {
    "temperature": 0.7, "reasoning_effort": "minimal", "service_tier": "flex", "functions": [{"name": "f"}],
    "n": 3, "store": True, "response_format": {"type": "json_object"}, "max_tokens": 9, "top_k": 3,
    "parallel_tool_calls": True,
}  # fmt: skip


def refusal(param: str, code: str = "unsupported_parameter") -> ParameterUnsupported:
    """Return an upstream's."""
    return ParameterUnsupported("no", param=param, code=code)


@pytest.mark.parametrize(
    ("param", "fields", "valid"),
    [
        ("temperature", {"temperature": 0.7}, True),
        ("reasoning_effort", {"reasoning_effort": "xhigh"}, True),
        ("reasoning_effort", {"reasoning_effort": "banana"}, False),
        ("messages[0].role", {}, True),
        ("messages.[0].content.[1].type", {}, True),
        ("messages.1.content", {}, True),
        ("messages.1.assistant.reasoning_content", {}, False),
        ("tools[3].function.strict", {}, True),
        ("top_k", {"top_k": 3}, False),
        ("stream", {}, True),
    ],
)
def test_only_what_openais_document_names_is_another_models_to_try(
    param: str,
    fields: dict[str, Any],
    valid: bool,  # noqa: FBT001 -- a case
) -> None:
    """Everything else is the caller's, and goes nowhere else."""
    assert is_valid(refusal(param, "unsupported_value"), fields) is valid


@pytest.mark.parametrize(
    ("param", "code", "ability"),
    [
        ("temperature", "unsupported_value", "temperature"),
        ("reasoning_effort", "unsupported_value", "reasoning_effort=minimal"),
        ("reasoning_effort", "unsupported_parameter", "reasoning_effort"),
        ("service_tier", "unsupported_value", "service_tier=flex"),
        ("functions", "unknown_parameter", "tools"),
        ("n", "unsupported_parameter", "n"),
        ("n", "unsupported_value", None),
        ("response_format", "unsupported_value", None),
        ("store", "extra_forbidden", "store"),
        ("verbosity", "unsupported_parameter", None),
        ("messages[0].role", "unsupported_value", None),
        ("stream", "unsupported_value", None),
    ],
)
def test_a_refused_value_says_nothing_of_others(param: str, code: str, ability: str | None) -> None:
    """But of a hint, which an answer may go without; what the client did not send says nothing at all."""
    assert rejected_ability(refusal(param, code), FIELDS) == ability


def request(**fields: Any) -> ChatRequest:
    """Return a request with these fields."""
    return ChatRequest(json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}], **fields}).encode())


def test_what_a_model_refuses_is_left_out_or_sent_under_its_other_name() -> None:
    """And nothing else changes."""
    asked = request(temperature=0.7, store=True, max_tokens=9, parallel_tool_calls=False, user="u")
    cannot = ("temperature", "store", "max_tokens", "parallel_tool_calls")
    assert adapted(asked, "openai", cannot).fields == request(max_completion_tokens=9, user="u").fields
    assert omitted(asked.body, "openai", cannot) == ("temperature", "store")
    assert adapted(asked, "openai", ()) is asked


@pytest.mark.parametrize(
    ("fields", "cannot", "refused"),
    [
        ({"reasoning_effort": "minimal"}, ("reasoning_effort=minimal",), "reasoning_effort"),
        ({"reasoning_effort": "high"}, ("reasoning_effort=minimal",), None),
        ({"verbosity": "low"}, ("verbosity=low",), "verbosity"),
        ({"max_tokens": 9}, ("max_tokens",), None),
        ({"max_tokens": 9}, ("max_tokens", "max_completion_tokens"), "max_tokens"),
        ({"temperature": 0.7}, ("temperature",), None),
        ({"store": True}, ("store",), None),
    ],
)
def test_a_model_is_not_offered_what_it_has_refused(
    fields: dict[str, Any], cannot: tuple[str, ...], refused: str | None
) -> None:
    """Hints and what has no effect are left out instead, and limits have two names."""
    assert unsupported(request(**fields).body, "openai", lacking(cannot)) == refused
