"""Paid APIs that the environment names."""

from __future__ import annotations

import pytest

from shared.models.paid_apis import PaidApi, WrongPaidApi, paid_apis
from shared.setting_values import SettingsError
from shared.settings import environment_for, load_credentials, unknown_variables

GROQ = {"CLAW_PAID_GROQ_URL": "https://api.groq.com/openai/v1", "CLAW_PAID_GROQ_API_KEY": "gsk"}
AZURE = {
    "CLAW_PAID_AZURE2_URL": "https://me.openai.azure.com/openai/v1",
    "CLAW_PAID_AZURE2_API_KEY": "az",
    "CLAW_PAID_AZURE2_MODELS": "mine, theirs ,",
}


def test_each_is_three_variables() -> None:
    """Of which the models may be left out; an empty variable is an unset one."""
    expected = (
        PaidApi("azure2", "https://me.openai.azure.com/openai/v1", "az", ("mine", "theirs")),
        PaidApi("groq", "https://api.groq.com/openai/v1", "gsk"),
    )
    assert load_credentials("paid", {**GROQ, **AZURE, "CLAW_PAID_GROQ_MODELS": " "}).paid_apis == expected
    assert load_credentials("gemini", {**GROQ, "CLAW_DATA_DIR": "/nowhere"}).paid_apis == ()


@pytest.mark.parametrize("part", ["URL", "API_KEY", "MODELS"])
@pytest.mark.parametrize("name", ["GROQ", "X1", "OPEN_ROUTER", "mixed"])
def test_only_the_workers_of_the_paid_tier_see_them(name: str, part: str) -> None:
    """Also where the name is none: its value may be a key all the same."""
    given = {"PATH": "/bin", f"CLAW_PAID_{name}_{part}": "secret"}
    assert environment_for("paid", given) == given
    for other in (None, "web", "local", "gemini", "recorder"):
        assert environment_for(other, given) == {"PATH": "/bin"}


def test_a_setting_of_the_tier_is_no_api() -> None:
    """Every process sees it."""
    assert environment_for("web", {"CLAW_PAID_SLOTS": "3"}) == {"CLAW_PAID_SLOTS": "3"}
    assert paid_apis({"CLAW_PAID_SLOTS": "3"}) == ()
    assert unknown_variables({**GROQ, **AZURE, "CLAW_PAID_SLOTS": "3"}) == []


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"CLAW_PAID_OPEN_ROUTER_URL": "https://x"}, "CLAW_PAID_OPEN_ROUTER_"),
        ({"CLAW_PAID_groq_URL": "https://x"}, "CLAW_PAID_groq_"),
        ({**GROQ, "CLAW_PAID_GROQ_URL": ""}, "CLAW_PAID_GROQ_URL"),
        ({**GROQ, "CLAW_PAID_GROQ_API_KEY": ""}, "CLAW_PAID_GROQ_API_KEY"),
        ({**GROQ, "CLAW_PAID_GROQ_URL": "api.groq.com"}, "CLAW_PAID_GROQ_URL"),
        ({"CLAW_PAID_X_MODELS": "m"}, "CLAW_PAID_X_URL"),
        ({**GROQ, "CLAW_PAID_GROQ_URL": "https://x/deployments/{model}?api-version=1"}, "CLAW_PAID_GROQ_MODELS"),
        *(
            ({f"CLAW_PAID_{name}_URL": "https://x", f"CLAW_PAID_{name}_API_KEY": "k"}, f"CLAW_PAID_{name}_")
            for name in ("OPENAI", "ANTHROPIC", "GEMINI", "OLLAMA", "GOOGLE", "MODELS", "LOCAL", "AUTO")
        ),
    ],
)
def test_what_cannot_be_meant_stops_the_worker(given: dict[str, str], named: str) -> None:
    """By the name of the variable; names that stand before other models are taken."""
    with pytest.raises(SettingsError, match=named):
        load_credentials("paid", given)


def test_a_key_does_not_show_where_it_is_printed() -> None:
    """In a traceback, say."""
    (api,) = paid_apis(GROQ)
    assert "gsk" not in repr(api) + str(api)
    with pytest.raises(WrongPaidApi) as raised:
        paid_apis({"CLAW_PAID_GROQ_API_KEY": "gsk"})
    assert "gsk" not in str(raised.value)
