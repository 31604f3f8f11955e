"""What a key's bounds allow."""

import pytest

from api.routing.key_bounds import NO_KEY_BOUNDS, KeyBounds
from shared.types import Tier


@pytest.mark.parametrize(
    ("models", "name", "served", "is_allowed"),
    [
        ((), "auto", "llama3.2:3b", True),
        (("llama*",), "llama3.2:3b", "llama3.2:3b", True),
        (("llama*",), "auto", "llama3.2:3b", True),
        (("llama*",), "auto", "gpt-6-luna", False),
        (("llama*",), "LLAMA", "LLAMA", False),
        (("auto",), "auto", "gpt-6-luna", True),
        (("auto",), "gpt-6-luna", "gpt-6-luna", False),
        (("gpt-4o",), "gpt-4o", "gpt-6-luna", True),
        (("gpt-?", "vendor/*"), "vendor/a/b", "vendor/a/b", True),
        (("gpt",), "gpt-4o", "gpt-4o", False),
    ],
)
def test_a_pattern_allows_a_name_or_who_serves_it(
    models: tuple[str, ...], name: str, served: str, *, is_allowed: bool
) -> None:
    """Whole names, as file names are matched."""
    refusal = KeyBounds(models=models).refusal(name, "local", served)

    assert (refusal is None) == is_allowed
    assert refusal is None or (refusal.status, refusal.code, refusal.param) == (403, "model_not_allowed", "model")


@pytest.mark.parametrize("tier", ["local", "gemini", "paid"])
def test_tiers(tier: Tier) -> None:
    """None named: all."""
    refusal = KeyBounds(models=("*",), tiers=("local", "gemini")).refusal("auto", tier, "m")

    assert (refusal.code if refusal else None) == ("tier_not_allowed" if tier == "paid" else None)
    assert NO_KEY_BOUNDS.refusal("auto", tier, "m") is None
