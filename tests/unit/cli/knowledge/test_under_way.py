"""What `nself claw knowledge version` says of vectors that are being made."""

from __future__ import annotations

from typing import Any

from cli.knowledge.commands import under_way


def searched(**fields: Any) -> dict[str, Any]:
    """Return how a base is searched."""
    return {"model": None, "vectors": 0, "failed": 0, "making": None, "made": 0, **fields}


def test_how_many_of_how_many_chunks_have_a_vector_is_said_while_they_are_made() -> None:
    """By the first model, by another one, and by the same one for what is new, less those that it fails on."""
    assert under_way(searched(), 612) == []
    begun = under_way(searched(making="e5", made=352), 612)
    assert begun == ["Under way:   vectors of e5: 352 of 612 chunks have one"]
    assert under_way(searched(model="e5", vectors=610, failed=2), 612) == []
    assert [
        line.split(":   ")[1] for line in under_way(searched(model="e5", vectors=600, making="n", made=3), 612)
    ] == [
        "vectors of e5: 600 of 612 chunks have one",
        "vectors of n: 3 of 612 chunks have one",
    ]
