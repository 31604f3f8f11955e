"""Settings as people may see them: no text but those that are known to be no secret. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from api.ui.render import plain_number
from shared.models.catalogue import Catalogue
from shared.settings import VARIABLES, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

MASKED: Final = "••••••••"
PLAIN_TEXTS: Final = frozenset({
    "host", "auto_local_model", "auto_gemini_model", "auto_paid_model", "own_requests", "knowledge_model",
    "cors_origins", "http", "log_level", "log_format", "metrics_host",
})  # fmt: skip
"""Settings whose texts are shown as they are."""
ADDRESSES: Final = frozenset({
    "base_url", "cli_url", "ai_url", "database_url", "redis_url", "ollama_url", "local_openai_url",
    "local_embeddings_url",
})  # fmt: skip
"""Settings of which only scheme, host, port and path are shown. Of all further texts it is, that they are set."""
_OTHERS: Final = {"data_dir": "CLAW_DATA_DIR", "tracing": "OTEL_EXPORTER_OTLP_ENDPOINT"}
"""Settings that are read otherwise than by the table of variables."""
_HOST: Final = re.compile(r"[A-Za-z0-9_.:\[\]-]+")


class Row(NamedTuple):
    """A setting: which variables it is read from, what it is, and whether that is what it is without them."""

    variables: tuple[str, ...]
    value: str
    is_default: bool
    is_masked: bool = False


def rows(settings: Settings) -> Iterator[Row]:
    """Yield every setting, in the order of `Settings`."""
    for field in msgspec.structs.fields(Settings):
        value = getattr(settings, field.name)
        is_default = field.default is not msgspec.NODEFAULT and value == field.default
        is_default = is_default or (field.name == "catalogue" and value == field.default_factory())
        variables = VARIABLES.get(field.name) or (_OTHERS[field.name],)
        shown, is_masked = shown_value(field.name, value)
        yield Row(variables, shown, is_default, is_masked)


def shown_value(name: str, value: object) -> tuple[str, bool]:
    """Return how the value of a setting is shown, and whether something of it is hidden."""
    if isinstance(value, str) and name not in PLAIN_TEXTS:
        return _address(value) if name in ADDRESSES else (MASKED, True)
    if isinstance(value, bool):
        return ("on" if value else "off"), False
    if isinstance(value, Catalogue):
        return "the catalogue of models and prices", False
    if isinstance(value, tuple):
        return ", ".join(str(each) for each in value), False
    if isinstance(value, float):
        return plain_number(value), False
    return ("" if value is None else str(value)), False


def _address(text: str) -> tuple[str, bool]:
    """Return an address without user, password, query and fragment, which may be secrets."""
    try:
        parts = urlsplit(text)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return MASKED, True
    if not parts.scheme or not _HOST.fullmatch(host):
        return MASKED, True
    hidden = MASKED + "@" if "@" in parts.netloc else ""
    shown = f"{parts.scheme}://{hidden}{host}{parts.path}"
    more = f"?{MASKED}" if parts.query or parts.fragment else ""
    return shown + more, bool(hidden or more)
