"""workers/providers/openai/turns.py."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from workers.providers.openai.turns import with_alternating_roles

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
STEPS: dict[str, list[dict[str, Any]]] = {
    "system": [{"role": "system", "content": "s"}],
    "developer": [{"role": "developer", "content": [{"type": "text", "text": "d"}]}],
    "user": [{"role": "user", "content": "u"}],
    "image": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}],
    "assistant": [{"role": "assistant", "content": "a"}],
    "calls": [
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c", "content": "r"},
    ],
}


@given(st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=8))
def test_whatever_a_conversation_is_its_turns_alternate(names: list[str]) -> None:
    """As templates check it: one system text at most, then the user and the assistant, but for calls and results."""
    messages = [message for name in names for message in STEPS[name]]
    turns = with_alternating_roles(messages)
    roles = [turn["role"] for turn in turns]
    assert roles.count("system") == ("system" in names or "developer" in names)
    assert "system" not in roles[1:]
    sides = [turn["role"] for turn in turns if turn["role"] in {"user", "assistant"} and not turn.get("tool_calls")]
    assert sides == ["user", "assistant"] * (len(sides) // 2) + ["user"] * (len(sides) % 2)
    assert str(turns).count("'r'") == names.count("calls")
    assert str(turns).count("image_url': {") == names.count("image")


def test_what_was_said_stays_in_its_order() -> None:
    """Texts in a row are one, with a blank line between them."""
    messages = [*STEPS["user"], {"role": "user", "content": "v"}, *STEPS["assistant"], *STEPS["calls"], *STEPS["user"]]
    assert with_alternating_roles(messages) == [
        {"role": "user", "content": "u\n\nv"},
        {"role": "assistant", "content": "a", "tool_calls": [CALL]},
        STEPS["calls"][1],
        {"role": "assistant", "content": "(No answer.)"},
        STEPS["user"][0],
    ]
