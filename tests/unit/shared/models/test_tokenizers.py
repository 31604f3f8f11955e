"""Counting tokens as models do."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.models.tokenizers import count_tokens
from shared.openai.prompt_size import most_prompt, prompt_texts
from shared.openai.request import decode_chat
from workers.attempts.token_count import MESSAGE_TOKENS

MODELS = ("gpt-5.4", "claude-haiku-4-5", "claude-opus-5", "ollama-cloud/qwen")


@pytest.mark.parametrize(
    ("text", "tokens"),
    # As the crate bpe-openai counts them.
    [
        ("", 0), ("hello world", 2), ("tokenization is fun!", 5), ("\u65e5\u672c\u8a9e", 2), ("<|endoftext|>", 7),
        ("The year 2026: 1234567 na\u00efve caf\u00e9s", 13),
    ],
)  # fmt: skip
def test_openais_models_are_counted_exactly(text: str, tokens: int) -> None:
    """Names of special tokens are text."""
    for model in ("gpt-4o", "gpt-4.1-mini", "gpt-6-luna", "o3", "chatgpt-4o-latest", "ft:gpt-4o:acme::1"):
        assert count_tokens([text], model) == tokens


def test_claude_has_a_stated_factor() -> None:
    """Greater since its tokenizer of Opus 4.7."""
    text = "The quick brown fox jumps over the lazy dog. " * 1000
    exact = count_tokens([text], "gpt-5.4")
    for model, factor in (("claude-opus-4-6", 1.2), ("claude-sonnet-4-5", 1.2), ("claude-opus-4-7", 1.6),
                          ("claude-fable-5-1", 1.6), ("claude-3-5-sonnet", 1.2), ("mistral-large", 1.2)):  # fmt: skip
        assert count_tokens([text], model) == pytest.approx(exact * factor, abs=1)


@given(model=st.sampled_from(MODELS), text=st.text(st.characters(codec=None)) | st.text("ab \n0", min_size=200))
def test_no_count_is_more_than_what_is_reserved_for_its_text(model: str, text: str) -> None:
    """Bytes bound tokens, whatever the text."""
    assert 0 <= count_tokens([text], model) <= len(text.encode("utf-8", "surrogatepass"))
    content = text.encode("utf-8", "replace").decode()
    raw = json.dumps({"model": model, "messages": [{"role": "user", "content": content}]}).encode()
    asked = decode_chat(raw)
    assert count_tokens(list(prompt_texts(asked)), model) + MESSAGE_TOKENS <= most_prompt(len(raw), asked).tokens


@pytest.mark.parametrize("text", ["a" * 1_000_000, " " * 1_000_000, "ab" * 500_000, "\U0001f469\u200d" * 200_000])
def test_a_million_letters_without_a_space_are_counted(text: str) -> None:
    """In time that grows with the length, not with its square, which would be hours."""
    assert 0 < count_tokens([text], "gpt-5.4") < 4 * len(text)
