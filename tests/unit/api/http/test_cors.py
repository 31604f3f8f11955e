"""What a page of another origin may read of a reply."""

from __future__ import annotations

import re
from pathlib import Path

from quart import Response

from api.http import cors

_API = Path(__file__).resolve().parents[4] / "docs" / "api.md"
_FOR_PROXIES = {"x-accel-buffering"}


def test_every_header_of_ours_that_is_documented_can_be_read() -> None:
    """A browser hides from its page what is not named."""
    table = _API.read_text().partition("\n## Headers of a reply\n")[2].partition("\n\nThe limit")[0]
    firsts = [row.split("|")[1] for row in table.splitlines() if row.startswith("|")]
    named = {name for first in firsts for name in re.findall(r"`(x-[a-z-]+|retry-after)\b", first)}
    response = Response("")
    cors.allow(response, "https://page.example")
    exposed = set(response.headers["access-control-expose-headers"].split(", "))
    assert len(named) > 10
    assert named - _FOR_PROXIES <= exposed
