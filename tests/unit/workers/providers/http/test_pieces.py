"""Taking a large JSON reply apart as it arrives."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from workers.providers.http.pieces import ElementSplitter

_names = st.text(max_size=4) | st.sampled_from(["data", 'da"ta', "da\\ta", "\\"])
_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=3),
    max_leaves=12,
)
_elements = st.lists(_values, max_size=3) | st.dictionaries(_names, _values, max_size=3)


@given(
    before=st.dictionaries(_names.filter(lambda name: name != "data"), _values, max_size=3),
    elements=st.lists(_elements, max_size=4),
    after=st.dictionaries(_names.filter(lambda name: name != "data"), _values, max_size=3),
    size=st.integers(1, 40),
    options=st.fixed_dictionaries({"ensure_ascii": st.booleans(), "indent": st.sampled_from([None, 2])}),
)
def test_elements_and_the_rest_are_what_they_were(
    before: dict[str, Any],
    elements: list[Any],
    after: dict[str, Any],
    size: int,
    options: dict[str, Any],
) -> None:
    """Wherever the network splits them, whatever stands in strings, and wherever the array stands."""
    whole = {**before, "data": elements, **{name: value for name, value in after.items() if name not in before}}
    body = json.dumps(whole, **options).encode("utf-8", "surrogatepass")
    splitter = ElementSplitter("data")
    found = [each for at in range(0, len(body), size) for each in splitter.feed(body[at : at + size])]
    assert [json.loads(each) for each in found] == elements
    assert json.loads(splitter.rest()) == {**whole, "data": []}
