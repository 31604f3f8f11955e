"""Items in any sequence, sound or not: refused by name, or sent as each upstream takes them, with nothing lost."""

from __future__ import annotations

import json
from functools import partial
from typing import Any, Final

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.requests.checked_body import CheckedBody
from shared.dialects.responses.items import in_chat_order
from shared.dialects.responses.request import ResponsesRequest
from shared.models.parameters import COLUMNS
from shared.openai.request import ChatRequest
from tests.unit.shared.dialects.test_any_request import refusal_of
from tests.unit.shared.models.test_parameters import sent_of
from tests.upstreams.strict import violation
from workers.providers.openai.responses.native import to_native_body

_PATHS: Final = {
    "openai": "/v1/chat/completions",
    "gemini": "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
    "anthropic": "/v1/messages",
    "ollama": "/api/chat",
}
_SCHEMA: Final = {"type": "object", "properties": {}}
FUNCTION: Final = {"type": "function", "name": "f", "parameters": _SCHEMA}
TOOLS: Final = [FUNCTION, {"type": "custom", "name": "shell"}, {"type": "namespace", "name": "ns", "tools": [FUNCTION]}]
SILENT: Final = {"reasoning", "sealed", "in_namespace", "tools"}
"""Of these nothing has to arrive: what the model thought is no use to each upstream."""


def made(kind: str, call: int, mark: str) -> dict[str, Any]:
    """Return an item of a kind, about one of few calls, that says a word of its own."""
    call_id = {"call_id": f"call_{call}"}
    items: dict[str, dict[str, Any]] = {
        "user": {"role": "user", "content": mark},
        "developer": {"role": "developer", "content": [{"type": "input_text", "text": mark}]},
        "assistant": {"type": "message", "role": "assistant", "content": mark},
        "call": {"type": "function_call", **call_id, "name": "f", "arguments": json.dumps({"a": mark})},
        "garbled": {"type": "function_call", **call_id, "name": "gone", "arguments": mark},
        "in_namespace": {"type": "function_call", **call_id, "name": "f", "namespace": "ns", "arguments": "{}"},
        "result": {"type": "function_call_output", **call_id, "output": mark},
        "custom": {"type": "custom_tool_call", **call_id, "name": "shell", "input": mark},
        "custom_result": {"type": "custom_tool_call_output", **call_id, "output": mark},
        "reasoning": {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "t", "text": mark}]},
        "sealed": {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": mark},
        "tools": {"type": "additional_tools", "tools": [FUNCTION]},
    }
    return items[kind]


KINDS: Final = (
    "user", "developer", "assistant", "call", "garbled", "in_namespace", "result", "result", "custom", "custom_result",
    "reasoning", "sealed", "tools",
)  # fmt: skip
SEQUENCES: Final = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(1, 3)), min_size=1, max_size=8)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=2 * settings().max_examples)
@given(SEQUENCES)
def test_it_is_refused_or_each_upstream_takes_it_with_all_words(sequence: list[tuple[str, int]]) -> None:
    """Results without calls, calls without results, ids that are there twice, thoughts that lead to nothing."""
    sequence = [*sequence, ("user", 1)]  # Gemini wants the user to speak last
    items = [made(kind, call, f"word{number}.") for number, (kind, call) in enumerate(sequence)]
    raw = json.dumps({"model": "auto", "input": items, "tools": TOOLS}).encode()
    said = [f"word{number}." for number, (kind, _) in enumerate(sequence) if kind not in SILENT]
    if (refusal := refusal_of(lambda: CheckedBody.of_responses(raw))) is not None:
        assert refusal.param, refusal.message
        return
    request = ChatRequest(raw, read=ResponsesRequest)
    for provider in COLUMNS:
        if refusal_of(partial(sent_of, provider, request)) is not None:
            continue
        body = json.dumps(sent_of(provider, request))
        assert violation(_PATHS[provider], body.encode()) is None
        assert [word for word in said if word not in body] == []
    native = to_native_body(request, ResponsesRequest(raw), "gpt-6-luna", ()).content.decode()
    assert [word for word in said if word not in native] == []


def test_results_stand_right_after_their_calls() -> None:
    """Where something was said meanwhile, or another call was made; all else stays where it is."""
    late = ["call", "user", "result"]
    assert in_chat_order([made(kind, 1, "") for kind in late]) == [0, 2, 1]
    two = [("call", 1), ("custom", 2), ("custom_result", 2), ("call", 3), ("result", 1), ("result", 3)]
    assert in_chat_order([made(kind, call, "") for kind, call in two]) == [0, 1, 2, 4, 3, 5]
    plain = ["user", "reasoning", "call", "assistant", "result", "sealed", "assistant", "tools", "user"]
    assert in_chat_order([made(kind, 1, "") for kind in plain]) == list(range(len(plain)))
    many = [made(kind, 1, "") for kind in ["call", "user"] * 20_000 + ["result"] * 20_000]
    assert in_chat_order(many)[1:3] == [40_000, 40_001]
    assert in_chat_order([None, {"type": []}, {"type": "function_call", "call_id": 7}]) == [0, 1, 2]
