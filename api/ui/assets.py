"""The files that pages load: ours, from the package, under a path that changes with them, so that browsers keep them.

The version is in the path and not in a query, so that what an ES module imports by a relative path has it too.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from quart import Response, request

from shared.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER: Final = Path(__file__).parent / "static"
KEPT_S: Final = 365 * 24 * 3600
_TYPES: Final = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}


class Asset(NamedTuple):
    """A file, as it is and compressed."""

    content_type: str
    plain: bytes
    compressed: bytes


@cache
def assets() -> Mapping[str, Asset]:
    """Return all files by their path below the folder, read once."""
    found = {}
    for path in sorted(FOLDER.rglob("*")):
        if path.is_file():
            kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            plain = path.read_bytes()
            # No time in it: every process sends the same bytes.
            found[path.relative_to(FOLDER).as_posix()] = Asset(kind, plain, gzip.compress(plain, mtime=0))
    return found


@cache
def version() -> str:
    """Return a name for the state that the files are in."""
    digest = hashlib.sha256()
    for name, asset in assets().items():
        digest.update(f"{name} {len(asset.plain)}\n".encode() + asset.plain)
    return digest.hexdigest()[:12]


async def send_asset(state: str, name: str) -> Response:
    """Send a file. Under the name of another state, from before an update, it is not kept."""
    asset = assets().get(name)
    if asset is None:
        raise NotFound("There is no such file.")
    takes_gzip = "gzip" in request.headers.get("accept-encoding", "")
    response = Response(asset.compressed if takes_gzip else asset.plain, content_type=asset.content_type)
    if takes_gzip:
        response.headers["content-encoding"] = "gzip"
    response.headers["vary"] = "accept-encoding"
    is_current = state == version()
    response.headers["cache-control"] = f"public, max-age={KEPT_S}, immutable" if is_current else "no-cache"
    return response
