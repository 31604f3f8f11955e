"""What the command line says of an error that the gateway answered."""

from __future__ import annotations

import pytest

from cli.api_client import reason_of


@pytest.mark.parametrize(
    ("answered", "said"),
    [
        ("rpm_limit: Expected `int` >= 0 - at `$.rpm_limit`", "--rpm: Expected `int` >= 0"),
        ("Expected `int` >= 0 - at `$.rpm_limit`", "--rpm: Expected `int` >= 0"),
        (
            "a pattern must have visible characters - at `$.allowed_models`",
            "--model: a pattern must have visible characters",
        ),
        ("account_email must have visible characters - at `$.account_email`", "EMAIL must have visible characters"),
        (
            "enabled: The last tier of chat cannot be switched off.",
            "--enable or --disable: The last tier of chat cannot be switched off.",
        ),
        ("limit must be a whole number from 1 to 500.", "limit must be a whole number from 1 to 500."),
        ("There is no key with this id.", "There is no key with this id."),
    ],
)
def test_a_field_is_named_as_it_was_typed(answered: str, said: str) -> None:
    """Nobody at a terminal has seen the body that the command sent."""
    assert reason_of({"error": answered}) == said
    assert reason_of({"error": {"message": answered}}) == said
