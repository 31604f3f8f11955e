"""Names of models as Ollama writes them."""

from __future__ import annotations

import pytest

from api.endpoints.manage.ollama_names import canonical_name, same_model


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ("qwen3:4b", "qwen3:4b"),
        ("llama3.2", "llama3.2:latest"),
        ("library/llama3.2:3b", "llama3.2:3b"),
        ("registry.ollama.ai/library/llama3.2", "llama3.2:latest"),
        ("ollama.com/me/mine", "me/mine:latest"),
        ("me/mine:q4_K_M", "me/mine:q4_K_M"),
        ("hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M", "hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M"),
        ("registry.example:5000/team/model:v1", "registry.example:5000/team/model:v1"),
        ("example.com/library/model", "example.com/library/model:latest"),
    ],
)
def test_a_name_becomes_what_ollama_lists(given: str, canonical: str) -> None:
    """With its tag, without what goes without saying; and it stays so."""
    assert canonical_name(given) == canonical
    assert canonical_name(canonical) == canonical


@pytest.mark.parametrize(
    "name",
    [
        "", " ", "a b", "../etc", "..", "/model", "model/", "model:", ":tag", "a:b:c", "a/b/c/d", "-x", ".x",
        "me.you/x", "http://host/ns/model", "model\n", "model\x00", "model\x1b[2J", "modell\u00e9",
        "model@sha256-abc", "model?x=1", "a%2Fb", "m" * 81, "m:" + "t" * 81, "n" * 81 + "/m", "h" * 351 + "/n/m",
    ],
)  # fmt: skip
def test_what_ollama_would_refuse_is_refused(name: str) -> None:
    """Wrong characters, missing parts, too many, too long."""
    with pytest.raises(ValueError, match="model's name"):
        canonical_name(name)


def test_case_makes_no_other_model() -> None:
    """Ollama folds it."""
    assert same_model("hf.co/a/Model:Q4", "hf.co/a/model:q4")
    assert not same_model("a:1b", "a:2b")
