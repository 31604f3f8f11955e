"""Marks of what shall be cached: each turn of an agent is paid in full where one is lost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.upstreams.anthropic import strict as anthropic_strict
from tests.upstreams.outcome import HELLO, chat
from workers.providers.anthropic.models import facts_of
from workers.providers.anthropic.request import to_body

MODEL = "claude-sonnet-4-5"
MARK, HOUR = {"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def sent(*messages: dict[str, Any], **asks: Any) -> dict[str, Any]:
    """Return the body that goes out."""
    asked = chat({**HELLO, **({"messages": list(messages)} if messages else {}), **asks})
    body: dict[str, Any] = json.loads(to_body(asked, MODEL, facts_of(MODEL)).content)
    anthropic_strict.check(body)
    return body


def text(content: str, **fields: Any) -> dict[str, Any]:
    """Return a part of text."""
    return {"type": "text", "text": content, **fields}


@pytest.mark.parametrize("mark", [MARK, HOUR])
def test_a_part_keeps_its_mark(mark: dict[str, str]) -> None:
    """Of the user, of the instructions, of the assistant and of a tool's result; the parts before it have none."""
    body = sent(
        {"role": "system", "content": [text("a"), text("b", cache_control=mark)]},
        {"role": "user", "content": [text("c", cache_control=mark), text("d")]},
        {"role": "assistant", "content": [text("e", cache_control=mark)], "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c", "content": [text("f", cache_control=mark)]},
        tools=[TOOL],
    )
    assert body["system"] == [text("a"), text("b", cache_control=mark)]
    user, assistant, result = body["messages"]
    assert user["content"] == [text("c", cache_control=mark), text("d")]
    assert [block.get("cache_control") for block in assistant["content"]] == [None, mark]
    assert result["content"][0]["cache_control"] == mark


def test_a_message_is_marked_at_its_end() -> None:
    """As some clients set it, beside the role."""
    body = sent(
        {"role": "developer", "content": "a", "cache_control": MARK},
        {"role": "user", "content": "b", "cache_control": MARK},
        {"role": "assistant", "content": "c", "cache_control": MARK},
        {"role": "user", "content": [text("d"), text("e")], "cache_control": MARK},
    )
    assert body["system"] == [text("a", cache_control=MARK)]
    blocks = [block for turn in body["messages"] for block in turn["content"]]
    assert [block.get("cache_control") for block in blocks] == [MARK, MARK, None, MARK]


def test_a_tool_keeps_its_mark() -> None:
    """Beside its type, or with its function."""
    for tool in ({**TOOL, "cache_control": HOUR}, {**TOOL, "function": {**TOOL["function"], "cache_control": HOUR}}):
        plain, marked = sent(tools=[{**TOOL, "function": {"name": "g"}}, tool])["tools"]
        assert ("cache_control" in plain, marked["cache_control"]) == (False, HOUR)


def test_openais_breakpoint_is_a_mark() -> None:
    """Its only mode is the one that Anthropic has."""
    part = text("a", prompt_cache_breakpoint={"mode": "explicit"})
    assert sent({"role": "user", "content": [part]})["messages"][0]["content"] == [text("a", cache_control=MARK)]


def test_without_a_mark_nothing_changes() -> None:
    """Instructions are one text."""
    parts = {"role": "system", "content": [text("a"), text("b")]}
    assert sent(parts, {"role": "system", "content": "c"}, {"role": "user", "content": "d"})["system"] == "ab\nc"


@given(st.lists(st.tuples(st.sampled_from(("system", "user", "assistant")), st.booleans(), st.booleans()), min_size=1))
def test_no_mark_is_lost(said: list[tuple[str, bool, bool]]) -> None:
    """However many messages, wherever in them it stands: one block for each that has one."""
    messages = [
        {"role": role, "content": [text(f"{number}", **({"cache_control": MARK} if inner else {}))]}
        | ({"cache_control": MARK} if outer else {})
        for number, (role, inner, outer) in enumerate(said)
    ]
    body = sent(*messages, {"role": "user", "content": "end"})
    system = body.get("system", "")
    blocks = [
        *(system if isinstance(system, list) else ()),
        *(one for turn in body["messages"] for one in turn["content"]),
    ]
    marked = {block["text"] for block in blocks if "cache_control" in block}
    assert marked == {str(number) for number, (_, inner, outer) in enumerate(said) if inner or outer}
