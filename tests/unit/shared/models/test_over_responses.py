"""The table of what goes over OpenAI's Responses API says what the code does, and is what docs/api.md shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared.errors import Unsupported
from shared.models.abilities import omitted
from shared.models.catalogue import ModelEntry, default_catalogue
from shared.models.over_responses import LACKS_OVER_RESPONSES, OVER_RESPONSES, with_table
from shared.models.parameters import FIELDS, Action
from shared.openai.request import ChatRequest
from tests.unit.shared.models.parameter_samples import SAMPLES, USER
from tests.upstreams.openai import strict_responses
from workers.providers.openai.responses.request import to_body

ROOT = Path(__file__).resolve().parents[4]
CASES = [name for name in SAMPLES if name in OVER_RESPONSES]


def sent(fields: dict[str, Any]) -> Any:
    """Return the body that goes out for a request; OpenAI takes it."""
    request = ChatRequest(json.dumps({"model": "m", "messages": [USER], **fields}).encode())
    body = json.loads(to_body(request, "gpt-6-luna").content)
    strict_responses.check(body)
    return body


@pytest.mark.parametrize("name", CASES)
def test_the_table_says_what_the_code_does(name: str) -> None:
    """Refused by name, or the body that goes out is another one, or it is the same."""
    without, fields = SAMPLES[name]
    action = OVER_RESPONSES[name][0]
    if action is Action.REFUSED:
        with pytest.raises(Unsupported) as caught:
            sent(fields)
        assert caught.value.param is not None
        return
    given, before = sent(fields), sent(without)
    assert (given == before) == (action in {Action.IGNORED, Action.OMITTED, Action.HELD}), action
    if action is Action.PASSED and "[" not in name:
        assert given[name] == fields[name]
    if action is Action.OMITTED:
        request = ChatRequest(json.dumps({"model": "m", "messages": [USER], **fields}).encode())
        assert name in omitted(request.body, "openai", LACKS_OVER_RESPONSES)


def test_the_table_has_every_field() -> None:
    """As that of Chat Completions."""
    assert set(OVER_RESPONSES) == set(FIELDS)


@pytest.mark.parametrize("form", [None, "text", "json_object"])
def test_what_has_a_place_of_its_own_there_goes_to_it(form: str | None) -> None:
    """The form of the answer and its verbosity, effort, the limit, and log probabilities."""
    body = sent({
        "verbosity": "low", "reasoning_effort": "high", "max_completion_tokens": 100, "logprobs": True,
        "top_logprobs": 2, "stream_options": {"include_usage": True, "include_obfuscation": False}, "stream": True,
        **({"response_format": {"type": form}} if form else {}),
    })  # fmt: skip
    assert body["text"] == {"verbosity": "low", **({"format": {"type": form}} if form else {})}
    assert body["reasoning"] == {"effort": "high"}
    assert body["max_output_tokens"] == 100
    assert body["include"] == ["message.output_text.logprobs"]
    assert body["stream_options"] == {"include_obfuscation": False}
    assert not {"verbosity", "reasoning_effort", "max_completion_tokens", "logprobs"} & set(body)


def test_a_limit_is_at_least_what_the_api_takes() -> None:
    """It refuses a smaller one, which is what clients send that only want to know who is there."""
    assert sent({"max_tokens": 1})["max_output_tokens"] == 16


def test_a_choice_of_tools_goes_where_it_stands_there() -> None:
    """Beside its type."""
    tools = [{"type": "function", "function": {"name": name}} for name in "ab"]
    one = {"type": "function", "function": {"name": "a"}}
    assert sent({"tools": tools, "tool_choice": one})["tool_choice"] == {"type": "function", "name": "a"}
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [one]}}
    assert sent({"tools": tools, "tool_choice": allowed})["tool_choice"] == {
        "type": "allowed_tools",
        "mode": "required",
        "tools": [{"type": "function", "name": "a"}],
    }


@pytest.mark.parametrize(
    ("responses", "effort", "has_tools", "expected"),
    [
        ("", None, True, False),
        ("always", None, False, True),
        ("tools", "none", True, True),
        ("tools", None, False, False),
        ("reasoned_tools", None, True, True),
        ("reasoned_tools", "none", True, False),
        ("reasoned_tools", "high", False, False),
    ],
)
def test_the_catalogue_says_what_goes_over_it(
    responses: Any,
    effort: str | None,
    has_tools: bool,  # noqa: FBT001 -- a case
    expected: bool,  # noqa: FBT001 -- a case
) -> None:
    """A model that is not asked to reason can do more over Chat Completions."""
    entry = ModelEntry(default_effort="medium", responses=responses)
    assert entry.is_over_responses(effort, has_tools=has_tools) is expected
    assert ("stop" in entry.lacks(effort, has_tools=has_tools)) is expected


def test_models_that_take_tools_over_it_only_are_known() -> None:
    """OpenAI's from GPT-5.4 on."""
    known = default_catalogue()
    newer = [name for name in known.models if name.startswith(("gpt-5.4", "gpt-5.5", "gpt-5.6", "gpt-6"))]
    assert newer
    assert all(known.entry(name).is_over_responses("high", has_tools=True) for name in newer)
    assert not known.entry("gpt-4.1").is_over_responses(None, has_tools=True)


def test_the_page_shows_the_table() -> None:
    """As `make docs` writes it."""
    page = (ROOT / "docs/api.md").read_text()
    assert page == with_table(page)
