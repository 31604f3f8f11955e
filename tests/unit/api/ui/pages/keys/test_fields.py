"""The form of a key."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict

from api.endpoints.keys.operations import NewKey
from api.ui.pages.keys.fields import (
    WrongFields,
    changes,
    empty_form,
    form_of,
    limits,
    new_key,
    typed,
    wrong_field,
)
from api.ui.render import plain_number
from shared.postgres.keys import MAX_BUDGET_USD, ApiKey

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


USD = st.floats(0, MAX_BUDGET_USD).map(lambda sum_usd: round(sum_usd, 6))
"""As the database keeps them."""
ENDS = st.integers(1_600_000_000, 4_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
KEYS = st.builds(
    ApiKey,
    id=st.just("key"),
    key_prefix=st.just("sk-nself-abc"),
    name=st.text(st.sampled_from("ab c"), min_size=1).map(str.strip).filter(bool),
    rpm_limit=st.integers(1, 1000),
    admin_allowed=st.booleans(),
    created_at=st.just(datetime(2020, 1, 1, tzinfo=UTC)),
    monthly_budget_usd=st.none() | USD,
    expires_at=st.none() | ENDS,
    tokens_per_minute=st.none() | st.integers(1, 10**6),
    allowed_models=st.lists(st.sampled_from(["auto", "gpt-*", "qwen3:8b"]), unique=True).map(tuple),
)


def sent(key: ApiKey, **fields: str) -> dict[str, Any]:
    """Return the form of a key as a browser sends it, with some of its fields typed anew."""
    shown = {**form_of(key), **fields}
    texts = {name: text.replace("\n", "\r\n") for name, text in shown.items() if isinstance(text, str)}
    flags = {name: "on" for name, is_on in shown.items() if is_on is True}
    return typed(
        MultiDict([*texts.items(), *flags.items(), *(("allowed_tiers", tier) for tier in shown["allowed_tiers"])])
    )


@given(key=KEYS)
def test_who_saves_a_form_as_it_is_changes_nothing(key: ApiKey) -> None:
    """Though it shows the key's end without seconds; and a key that has ended can be given another name."""
    assert changes(key, sent(key)) == {}
    assert changes(key, sent(key, name="another")) == {"name": "another"}


@given(sum_usd=USD)
def test_a_budget_is_shown_with_all_of_its_digits(sum_usd: float) -> None:
    """It had six, and who saved the form changed it."""
    shown = plain_number(sum_usd)
    assert (float(shown), "e" in shown) == (sum_usd, False)


@pytest.mark.parametrize(
    ("value", "shown"), [(12345.67, "12345.67"), (1e6, "1000000"), (1e-6, "0.000001"), (25.0, "25"), (0.0, "0")]
)
def test_a_number_is_shown_as_who_writes_one_does(value: float, shown: str) -> None:
    """No exponents, and no decimals that say nothing."""
    assert plain_number(value) == shown
