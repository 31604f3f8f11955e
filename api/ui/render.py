"""Pages from templates. Whatever stands in a page and is not from a template is escaped."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from quart import Response, g, request

from api.gateway import gateway
from api.ui import flash
from api.ui.links import static, url
from api.ui.navigation import PAGES
from shared.process.threads import in_thread

if TYPE_CHECKING:
    from api.ui.navigation import Page

TEMPLATES: Final = Path(__file__).parent / "templates"
NONE: Final = "\N{EN DASH}"
"""Text where there is nothing."""
THEME_COOKIE: Final = "claw_ui_theme"
THEMES: Final = ("light", "dark")
_compiled: Final[set[str]] = set()


@cache
def environment() -> Environment:
    """Return the environment of all templates."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {"number": number, "usd": usd, "span": span, "iso": iso, "plain_time": plain_time, "tokens": tokens}
    made.globals |= {"url": url, "static": static}
    return made


async def render(template: str, page: Page | None = None, *, status: int = 200, **values: Any) -> Response:
    """Return a page.

    Args:
        template: its file.
        page: which entry of the navigation it belongs to.
        status: of HTTP.
        values: what the template uses.
    """
    theme = request.cookies.get(THEME_COOKIE)
    found = g.get("visit")
    text = await _text(
        template,
        pages=PAGES,
        page=page,
        theme=theme if theme in THEMES else "",
        csrf=found.token if found is not None else "",
        is_signed_in=found is not None and found.session.is_signed_in,
        is_key_session=found is not None and found.session.key_id is not None,
        here=request.full_path.removesuffix("?"),  # it ends in one where there is no query
        flashes=flash.taken(),
        public_url=gateway().settings.public_url,
        **values,
    )
    return Response(text, status=status, content_type="text/html; charset=utf-8")


async def fragment(template: str, **values: Any) -> Response:
    """Return a part of a page, for a script that puts it there."""
    found = g.get("visit")
    csrf = found.token if found is not None else ""
    text = await _text(template, csrf=csrf, **values)
    return Response(text, content_type="text/html; charset=utf-8")


async def _text(template: str, **values: Any) -> str:
    """Return what a template makes, in a thread at first: it is compiled then, with all that it takes parts from."""

    def made() -> str:
        return environment().get_template(template).render(**values)

    if template in _compiled:
        return made()
    text = await in_thread(made)
    _compiled.add(template)
    return text


def see_other(location: str) -> Response:
    """Return a redirect that is followed by a GET."""
    return Response(b"", status=303, headers={"location": location})


def number(value: float | None) -> str:
    """Return a number with its thousands apart; a dash for none."""
    if value is None:
        return NONE
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def plain_number(value: float) -> str:
    """Return a number with all of its digits, as who writes one does: 12345.67, 0.000001, 25."""
    digits = f"{Decimal(repr(float(value))):f}"
    return digits.rstrip("0").removesuffix(".") if "." in digits else digits


def tokens(value: int) -> str:
    """Return a count, short: 1.2k, 3.4M."""
    for bound, unit in ((1_000_000_000, "B"), (1_000_000, "M"), (1_000, "k")):
        if value >= bound:
            short = f"{value / bound:.1f}".removesuffix(".0")
            return short + unit
    return str(value)


def usd(value: float | None) -> str:
    """Return a sum of US dollars: with as many decimals as it needs to be more than nothing."""
    if value is None:
        return NONE
    if value == 0:
        return "$0"
    if abs(value) >= 1:
        return f"${value:,.2f}"
    # Of less than that two digits say enough, and more would not fit.
    digits = 4 if abs(value) >= 0.0001 else min(12, 1 - math.floor(math.log10(abs(value))))
    short = f"{value:.{digits}f}"
    return "$" + (short if digits == 4 else short.rstrip("0"))


def span(milliseconds: float | None) -> str:
    """Return how long something took, in the unit that fits."""
    if milliseconds is None:
        return NONE
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    if minutes < 120:
        return f"{minutes:.0f} min"
    hours = minutes / 60
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"


def iso(moment: datetime | str) -> str:
    """Return a time as the attribute of a time element has it."""
    found = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return found.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def plain_time(moment: datetime | str) -> str:
    """Return a time for who has no script, which puts it into the viewer's zone."""
    found = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return f"{found.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
