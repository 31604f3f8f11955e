"""Values are counted as JSON has them, whatever stands in its texts."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.process import json_values
from shared.process.json_values import SPARE_CALLS, has_more_values, with_spare_calls

TEXTS = st.text(alphabet='a",[{\\\u00e9', max_size=30)
VALUES = st.recursive(
    st.integers() | TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=30
)


def _values(value: Any) -> int:
    """Return how many commas, lists and objects JSON writes for a value."""
    if isinstance(value, dict):
        return 1 + max(0, len(value) - 1) + sum(map(_values, value.values()))
    return 1 + max(0, len(value) - 1) + sum(map(_values, value)) if isinstance(value, list) else 0


@given(VALUES, st.booleans(), st.sampled_from((2, 3, 7, json_values.STEP_BYTES)))
async def test_what_stands_in_texts_is_no_value(value: Any, is_ascii: bool, step: int) -> None:  # noqa: FBT001 -- drawn
    """However long the steps are in which it is counted, the bound is met exactly."""
    body, count = json.dumps(value, ensure_ascii=is_ascii).encode(), _values(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_values, "STEP_BYTES", step)
        assert not await has_more_values(body, count)
        assert count == 0 or await has_more_values(body, count - 1)


@given(st.binary(max_size=60) | st.text(alphabet='",[\\', max_size=60).map(str.encode))
async def test_what_is_no_json_is_counted_to_an_end(body: bytes) -> None:
    """It is for the decoder to refuse."""
    await has_more_values(body, 3)


def test_what_is_read_with_room_can_be_read_from_within_more_calls() -> None:
    """The deepest JSON that is taken; a few levels more are refused."""

    def is_read(depth: int) -> bool:
        try:
            with_spare_calls(lambda: msgspec.json.decode(b"[" * depth + b"]" * depth))
        except RecursionError:
            return False
        return True

    deepest = max(depth for depth in range(1, 1_000) if is_read(depth))
    raw = b"[" * deepest + b"]" * deepest
    assert with_spare_calls(lambda: msgspec.json.decode(raw), SPARE_CALLS - 10)
    with pytest.raises(RecursionError):
        with_spare_calls(lambda: msgspec.json.decode(b"[" * 10 + raw + b"]" * 10))
