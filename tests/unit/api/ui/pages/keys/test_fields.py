"""The form of a key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict

from api.endpoints.keys.operations import NewKey
from api.ui.pages.keys.fields import WrongFields, empty_form, limits, new_key, typed, wrong_field

TEXTS = st.text(st.sampled_from("0123456789.,-$ eE\n*a\0")) | st.text()


@given(st.dictionaries(st.sampled_from(sorted(empty_form())), TEXTS))
def test_whatever_is_typed_is_a_key_or_wrong_fields_by_name(fields: dict[str, str]) -> None:
    """Never a fault of ours; every complaint is about a field of the form."""
    shown = typed(MultiDict(fields))
    texts = None
    try:
        assert isinstance(new_key(limits(shown)), NewKey)
    except WrongFields as wrong:
        texts = wrong.texts
    assert texts is None or (texts and set(texts) <= {*empty_form(), "form"})


@pytest.mark.parametrize(
    ("field", "text", "means"),
    [
        ("rpm_limit", "1,000", 1000),
        ("tokens_per_minute", "", None),
        ("tokens_per_minute", "60 000", 60_000),
        ("monthly_budget_usd", "$2.50", 2.5),
        ("monthly_budget_usd", "", None),
        ("allowed_models", "auto, llama*\n\n gpt-4o ", ("auto", "llama*", "gpt-4o")),
        ("system_prompt_id", "", None),
        ("expires", "", None),
    ],
)
def test_what_people_type_is_understood(field: str, text: str, means: object) -> None:
    """Thousands apart, a currency's sign, one a line or with commas; nothing for no bound."""
    made = new_key(limits({**empty_form(), "name": "x", field: text}))
    assert getattr(made, "expires_at" if field == "expires" else field) == means


def test_a_refusal_of_the_management_api_is_shown_at_its_field() -> None:
    """By the path at its end; one without a path at the form."""
    assert wrong_field("Expected `str` of length <= 200 - at `$.allowed_models[3]`").texts.keys() == {"allowed_models"}
    assert wrong_field("something else").texts.keys() == {"form"}
