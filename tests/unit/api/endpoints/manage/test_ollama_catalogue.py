"""The models worth installing."""

from __future__ import annotations

import pytest

from api.endpoints.manage.ollama_catalogue import CATALOGUE, estimated_minutes, recommended
from api.endpoints.manage.ollama_names import canonical_name


def test_every_tag_is_a_name_of_ollamas_and_stands_there_once() -> None:
    """Else it could not be installed."""
    names = [canonical_name(model.tag) for model in CATALOGUE]
    assert len(set(names)) == len(names)


def test_a_model_needs_more_memory_than_its_weights() -> None:
    """Its context comes on top."""
    assert all(model.ram_gb > model.download_gb for model in CATALOGUE)


@pytest.mark.parametrize(
    ("free_gb", "tag"),
    [(0.0, None), (1.9, None), (2.0, "gemma3:1b"), (8.0, "qwen3:8b"), (16.0, "qwen3.5:9b"), (500.0, "qwen3.5:35b")],
)
def test_the_strongest_chat_model_that_fits_is_recommended(free_gb: float, tag: str | None) -> None:
    """None, where not even the smallest does."""
    best = recommended(free_gb)
    assert (best.tag if best else None) == tag


def test_where_the_memory_is_not_known_the_smallest_is_recommended() -> None:
    """It fits nearly everywhere."""
    assert recommended(None) == CATALOGUE[0]


@pytest.mark.parametrize(
    ("name", "minutes"),
    [
        ("qwen3:8b", 9),
        ("nomic-embed-text", 1),
        ("mistral:7b", 8),
        ("hf.co/a/Llama-3.2-1B-GGUF:Q4_K_M", 2),
        ("phi4", None),
    ],
)
def test_the_time_is_estimated_from_the_catalogue_or_the_name(name: str, minutes: int | None) -> None:
    """At 80 Mbit/s; not where the name does not say how large the model is."""
    assert estimated_minutes(name) == minutes
