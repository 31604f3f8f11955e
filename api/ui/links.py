"""The addresses of pages and files, under the path by which a proxy has the gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

from quart import request

from api.gateway import gateway
from api.ui.assets import version
from api.ui.state import ROOT, path_prefix

if TYPE_CHECKING:
    from collections.abc import Mapping

_WITHIN: Final = frozenset({ROOT, ROOT + "/"})


def url(*parts: str, query: Mapping[str, object] | None = None) -> str:
    """Return the address of a page.

    Args:
        parts: of its path below /ui, as they are: `url("keys", key.id)`.
        query: what is None or empty is left out.
    """
    path = "/".join([path_prefix() + ROOT, *(quote(part, safe="") for part in parts)])
    given = {name: value for name, value in (query or {}).items() if value not in {None, ""}}
    return f"{path}?{urlencode(given)}" if given else path


def static(name: str) -> str:
    """Return the address of a file below `static/`."""
    return f"{path_prefix()}{ROOT}/static/{version()}/{name}"


def base_url() -> str:
    """Return the base URL of the API, as programs reach it: as it is configured, else as this browser reached us."""
    settings = gateway().settings
    return settings.public_url if settings.base_url else f"{request.scheme}://{request.host}{path_prefix()}/v1"


def inner_path(text: str) -> str:
    """Return a path of ours that somebody is to be sent back to, without the proxy's prefix; the root for any other."""
    is_plain = text.isascii() and text.isprintable() and not set(text) & set(' \\"<>')
    is_ours = text in _WITHIN or text.startswith((ROOT + "/", ROOT + "?"))
    return text if is_plain and is_ours and len(text) < 1000 else ROOT
