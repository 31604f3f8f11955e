"""How long an attempt may wait."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import pytest

from shared.openai.request import ChatRequest
from shared.settings import load_settings
from shared.types import Job
from workers.attempts.bounds import Bounds

if TYPE_CHECKING:
    from pathlib import Path

    from shared.types import Tier


@pytest.mark.parametrize(
    ("tier", "model", "effort", "bound_s"),
    [
        ("paid", "gpt-6-luna", None, 500),
        ("paid", "claude-opus-5", None, 500),
        ("paid", "gpt-4o", None, 100),
        ("paid", "slow", None, 900),
        ("local", "qwen3", None, 100),
        ("local", "qwen3", "high", 500),
        ("local", "qwen3", "none", 100),
        ("gemini", "gemini-3.8-flash", "low", 500),
    ],
)
def test_models_that_may_reason_may_be_silent_for_longer(
    tmp_path: Path, tier: Tier, model: str, effort: str | None, bound_s: float
) -> None:
    """Those that are known to, and those that are asked to; the catalogue has a bound for a single model."""
    file = tmp_path / "catalogue.toml"
    file.write_text("[models.slow]\nprompt_usd = 1.0\nfirst_token_timeout_s = 900")
    settings = load_settings(
        {
            "CLAW_DATA_DIR": "/nowhere",
            "CLAW_CATALOGUE": str(file),
            "CLAW_FIRST_TOKEN_TIMEOUT_S": "100",
            "CLAW_REASONING_TIMEOUT_S": "500",
        }
    )
    asked = {"model": model, "messages": [{"role": "user", "content": "x"}], "reasoning_effort": effort}
    body = json.dumps(asked).encode()
    job = Job(
        request_id="0" * 32, attempt=1, api_id="1" * 32, endpoint="chat", requested_model=model, stream=True,
        admitted_ms=0, expires_ms=0, tier=tier, model=model, body=msgspec.Raw(body),
    )  # fmt: skip
    assert Bounds(job, ChatRequest(body), settings).first_token_s() == bound_s
