"""What of the catalogue is out of date."""

from __future__ import annotations

from datetime import date

import msgspec

from shared.models.catalogue import AutoModels, Catalogue, ModelEntry, default_catalogue
from shared.models.freshness import findings_of

TODAY = date(2026, 11, 26)


def test_nothing_that_auto_or_an_alias_rests_on_is_stale() -> None:
    """On the day that the catalogue was written; other models that end soon are named with what replaces them."""
    findings = findings_of(default_catalogue(), TODAY)
    assert not any(finding.is_urgent for finding in findings)
    named = {finding.model: finding.text for finding in findings}
    assert named["gpt-5-mini"] == "is shut down on 2026-12-11; gpt-6.1-terra replaces it"
    assert {"gpt-4o", "gemini-2.5-flash", "gpt-5", "o3"} <= named.keys()


def test_what_auto_or_an_alias_rests_on_is_urgent() -> None:
    """A model that ends, one that is not known, one without a price."""
    known = ModelEntry(prompt_usd=1.0, checked=TODAY, sources=("s",))
    replace = msgspec.structs.replace
    catalogue = Catalogue(
        auto=AutoModels(paid=("gpt-good", "gpt-ends", "gpt-unknown", "gpt-free")),
        aliases={"old": "gpt-ends", "mine": "llama3"},
        models={
            "gpt-good": known,
            "gpt-ends": replace(known, shutdown=date(2026, 12, 1)),
            "gpt-free": replace(known, prompt_usd=None),
        },
    )
    urgent = [finding for finding in findings_of(catalogue, TODAY) if finding.is_urgent]
    assert [finding.model for finding in urgent] == ["gpt-ends", "gpt-unknown", "gpt-free", "gpt-ends"]


def test_an_entry_that_nobody_looked_up_for_long_is_named() -> None:
    """After ninety days, and where it does not say when."""
    entries = {"a": ModelEntry(checked=date(2026, 8, 1)), "b": ModelEntry(), "c": ModelEntry(checked=TODAY)}
    findings = findings_of(Catalogue(models=entries), TODAY)
    assert [finding.model for finding in findings] == ["a", "b"]


def test_what_a_makers_api_says_of_the_end_goes_before_the_catalogue() -> None:
    """Earlier or later, where it says that."""
    entry = ModelEntry(prompt_usd=1.0, checked=TODAY, sources=("s",), shutdown=date(2026, 12, 1))
    catalogue = Catalogue(auto=AutoModels(paid=("gpt-a",)), models={"gpt-a": entry})
    assert findings_of(catalogue, TODAY)
    assert findings_of(catalogue, TODAY, {"gpt-a": date(2027, 12, 1)}) == []
    assert findings_of(catalogue, TODAY, {"gpt-a": None}) == findings_of(catalogue, TODAY)
    (relied_on, _) = findings_of(msgspec.structs.replace(catalogue, models={"gpt-a": NEVER}), TODAY, {"gpt-a": TODAY})
    assert (relied_on.model, relied_on.is_urgent) == ("gpt-a", True)


NEVER = ModelEntry(prompt_usd=1.0, checked=TODAY, sources=("s",))


def test_what_makers_offer_and_the_catalogue_lacks_is_named() -> None:
    """A paid model without a price is refused; a date or an owner at the end of a name makes no other model."""
    catalogue = Catalogue(models={"gpt-a": NEVER, "gemini-a": ModelEntry(checked=TODAY), "ft:gpt-a": NEVER})
    known = ["gpt-a", "gpt-a-2026-01-31", "ft:gpt-a:acme::x", "gemini-a"]
    offered = dict.fromkeys([*known, "gpt-new", "gemini-new", "claude-new"])
    missing = findings_of(catalogue, TODAY, offered)
    assert [(finding.model, "no price" in finding.text, finding.is_urgent) for finding in missing] == [
        ("gpt-new", True, False),
        ("gemini-new", False, False),
        ("claude-new", True, False),
    ]
