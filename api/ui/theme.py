"""/ui/theme: light, dark, or as the system has it."""

from __future__ import annotations

from typing import Final

from quart import Response

from api.ui.forms import form, unaudited
from api.ui.links import inner_path
from api.ui.render import THEME_COOKIE, THEMES, see_other
from api.ui.state import ROOT, is_secure, path_prefix
from shared.errors import InvalidRequest

LIFE_S: Final = 365 * 24 * 3600
SYSTEM: Final = "system"


@unaudited
async def set_theme() -> Response:
    """Keep the theme in a cookie, so that the first paint has it, and go back to the page."""
    theme = form().get("theme", "")
    if theme not in {*THEMES, SYSTEM}:
        raise InvalidRequest(f"theme must be one of {', '.join((*THEMES, SYSTEM))}.", param="theme")
    response = see_other(path_prefix() + inner_path(form().get("back", "")))
    path = path_prefix() + ROOT
    if theme == SYSTEM:
        response.delete_cookie(THEME_COOKIE, path=path, secure=is_secure(), samesite="Lax")
    else:
        response.set_cookie(THEME_COOKIE, theme, max_age=LIFE_S, path=path, secure=is_secure(), samesite="Lax")
    return response
