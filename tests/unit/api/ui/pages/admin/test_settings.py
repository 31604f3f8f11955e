"""Settings as the Admin page shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from api.ui.pages.admin.settings import ADDRESSES, PLAIN_TEXTS, rows, shown_value
from shared.process.tracing.trace_settings import TraceSettings
from shared.settings import Settings

SECRET = "s3cret-of-somebody"
TEXTS = sorted({field.name for field in msgspec.structs.fields(Settings) if "str" in str(field.type)})


def _settings(**given: Any) -> Settings:
    return Settings(data_dir=Path("/data"), **given)


@given(st.sampled_from(sorted(set(TEXTS) - PLAIN_TEXTS)))
def test_no_text_is_shown_that_may_be_a_secret(name: str) -> None:
    """Neither a secret, nor an address with one in it anywhere but in its path."""
    address = f"redis://user:{SECRET}@host:1/0?password={SECRET}#{SECRET}"
    for text in (SECRET, address, f"//{SECRET}@", f"http://[{SECRET}", f"{SECRET}:x@host"):
        shown = " ".join(row.value for row in rows(_settings(**{name: text})))
        assert SECRET not in shown


def test_an_address_is_shown_without_its_password() -> None:
    """Host, port and path are what one looks for."""
    shown, is_masked = shown_value("database_url", "postgresql://claw:pass@db:5432/gateway?sslmode=require")
    assert is_masked
    assert shown.startswith("postgresql://")
    assert "@db:5432/gateway" in shown
    assert "pass" not in shown
    assert shown_value("redis_url", "redis://db:6379/0") == ("redis://db:6379/0", False)


def test_what_is_set_is_told_from_defaults() -> None:
    """Also where a value is the one that it has anyway."""
    found = {row.variables[0]: row for row in rows(_settings(port=4000, ui=True))}
    assert (found["CLAW_PORT"].value, found["CLAW_PORT"].is_default) == ("4000", False)
    assert (found["CLAW_UI"].value, found["CLAW_UI"].is_default) == ("on", True)
    assert found["CLAW_CATALOGUE"].is_default


def test_where_traces_go_is_told_by_its_variable() -> None:
    """And whether they show prompts."""
    found = {row.variables[0]: row for row in rows(_settings(tracing=TraceSettings(collector="c:4318")))}
    assert (found["OTEL_EXPORTER_OTLP_ENDPOINT"].value, found["CLAW_DATA_DIR"].value) == ("c:4318", "/data")
    shown, _ = shown_value("tracing", TraceSettings(collector="c", captures_content=True))
    assert shown == "c, with prompts and answers"


def test_the_lists_name_settings_only() -> None:
    """A renamed one would be hidden, or one that is gone be looked for."""
    assert set(TEXTS) >= PLAIN_TEXTS | ADDRESSES
