"""What `nself claw logs` shows of a request that is part of a trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cli.operator.logs import _print_story
from shared.queue.whole_story import whole_story

if TYPE_CHECKING:
    import pytest

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
ROW: dict[str, Any] = {
    "request_id": "0" * 32, "key_name": "k", "key_id": "1", "asked_model": "auto", "model": "m", "tier": "local",
    "prompt_tokens": 3, "completion_tokens": 20, "usage_source": "reported", "cost_usd": 0.0, "status": 200,
    "error_code": None, "error_reason": None, "endpoint": "chat", "created_at": "2026-11-27T10:00:00+00:00",
    "wait_ms": 5, "first_token_ms": 9, "duration_ms": 50, "attempts": 1,
    "story": [{"at_ms": 1795773600000, "what": "traced", "detail": TRACE_ID}],
}  # fmt: skip


def test_the_trace_of_a_request_is_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """Beside what happened to it; one without a trace has no such line."""
    _print_story(ROW, whole_story(ROW))
    shown = capsys.readouterr().out.splitlines()
    assert f"Trace:    {TRACE_ID}" in shown
    assert not [line for line in shown if "traced" in line]
    _print_story({**ROW, "story": []}, whole_story({**ROW, "story": []}))
    assert "Trace:" not in capsys.readouterr().out
