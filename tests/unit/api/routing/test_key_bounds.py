"""What a key's bounds allow."""

from typing import get_args

import pytest

from api.routing.key_bounds import NO_KEY_BOUNDS, KeyBounds
from shared.errors import InvalidRequest
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


@pytest.mark.parametrize(("word", "tier"), [("local", "local"), ("free_gemini", "gemini"), (" Api_Key ", "paid")])
def test_a_request_asks_for_one_tier(word: str, tier: Tier) -> None:
    """By our words and nSelf's; what the key may not use it may not use then either."""
    bounds = KeyBounds(tiers=("local", "gemini")).within(word)

    refusals = {each: bounds.refusal("auto", each, "m") for each in get_args(Tier)}
    codes = {each: refusal.code for each, refusal in refusals.items() if refusal}
    assert codes == {
        **{each: "tier_not_available" for each in ("local", "gemini") if each != tier},
        "paid": "tier_not_allowed",
    }
    assert bounds.allowed_of(("gemini", "local", "paid")) == (tier,)
    with pytest.raises(InvalidRequest, match=tier) as refused:
        bounds.allowed_of(tuple(each for each in get_args(Tier) if each != tier))
    assert refused.value.param == "x-nself-tier"


def test_without_the_header_nothing_changes() -> None:
    """Not even the object; a word for no tier is refused by name."""
    assert NO_KEY_BOUNDS.within(None) is NO_KEY_BOUNDS
    with pytest.raises(InvalidRequest, match="x-nself-tier must be one of"):
        NO_KEY_BOUNDS.within("cloud")
