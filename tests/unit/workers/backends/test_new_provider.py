"""A new provider is one package and one row of a table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from shared.models.abilities import needs_of, unmet
from shared.models.catalogue import is_served_by
from shared.models.providers import EVERYWHERE, PROVIDERS, ProviderInfo, endpoints_at, family_of
from shared.openai.request import ChatRequest
from shared.redis.client import connect
from shared.settings import Settings, environment_for, load_credentials, load_settings
from workers.backends.build import backends_of

if TYPE_CHECKING:
    from pathlib import Path

MADE_UP = ProviderInfo(
    name="made-up",
    tiers=("paid",),
    families=re.compile(r"sooth-"),
    key_variables=("MADE_UP_API_KEY",),
    url_variable="MADE_UP_BASE_URL",
    base_url="https://api.made-up.example/v1",
    credential="MADE_UP_API_KEY",
    lacks=EVERYWHERE | {"seed"},
    package="tests.upstreams.made_up",
)
ENVIRONMENT = {"MADE_UP_API_KEY": "secret", "MADE_UP_BASE_URL": "https://elsewhere.example/v1"}


@pytest.fixture(autouse=True)
def row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add the row of a provider that does not exist."""
    monkeypatch.setitem(PROVIDERS, MADE_UP.name, MADE_UP)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings without any server."""
    return load_settings({"CLAW_DATA_DIR": str(tmp_path)})


def test_its_credentials_go_to_the_workers_of_its_tier_alone() -> None:
    """Both of its variables; nobody else sees them."""
    found = load_credentials("paid", ENVIRONMENT)
    assert (found.api_keys, found.base_urls["made-up"]) == ({"made-up": "secret"}, "https://elsewhere.example/v1")
    assert environment_for("paid", ENVIRONMENT) == ENVIRONMENT
    assert environment_for("gemini", ENVIRONMENT) == environment_for(None, ENVIRONMENT) == {}


def test_its_backend_is_built_only_with_a_key(settings: Settings) -> None:
    """By its package, which nobody else names."""
    redis = connect("redis://localhost:1")
    (backend,) = backends_of("paid", settings, load_credentials("paid", ENVIRONMENT), redis)
    assert (backend.info().provider, backend.queue) == ("made-up", "arq:queue:paid:made-up")
    assert backends_of("paid", settings, load_credentials("paid", {}), redis) == []


def test_its_names_lead_to_it_and_what_its_api_lacks_is_known() -> None:
    """To callers, to the list of models and to routing."""
    assert family_of("sooth-2") == MADE_UP
    assert is_served_by("sooth-2", "made-up")
    assert endpoints_at("made-up") == ("chat",)
    asked = ChatRequest(b'{"model":"sooth-2","messages":[{"role":"user","content":"hi"}],"seed":5,"n":2}')
    assert unmet(needs_of(asked.body), "made-up", strict=True) == "seed"
