"""The prompt of an nSelf expert: ours, written from the facts of nSelf's public repositories (`nself_expert.md`)."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from shared.openai.prompt_size import estimate_text_tokens
from shared.types import AddedText


@cache
def expert() -> AddedText:
    """Return the prompt; the file is read once."""
    text = Path(__file__).with_name("nself_expert.md").read_text(encoding="utf-8").strip()
    return AddedText("app", text, estimate_text_tokens(text))
