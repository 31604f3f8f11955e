"""The keys that `docs/redis.md` documents, and what stands in Redis beside them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from redis.asyncio import Redis

_DOCUMENT = Path(__file__).parents[1] / "docs" / "redis.md"
_ROW = re.compile(r"^\| `([^`]+)` \| (string|hash|set|zset|list|stream) \| ([^|]+) \| [^|]+ \|$", re.MULTILINE)
_QUEUE = "arq:queue:.+?"
_OURS = (b"claw:", b"arq:")
"""All that the gateway may touch; tests and the simulator have names of their own too."""


class Documented(NamedTuple):
    """A key of the table: its form, its type, and whether it stands for good."""

    form: str
    kind: str
    stays: bool

    @property
    def pattern(self) -> re.Pattern[str]:
        """Return what its names look like."""
        if self.form.startswith("<queue>"):
            return re.compile(_QUEUE + re.escape(self.form.removeprefix("<queue>")), re.DOTALL)
        parts = re.split(r"<([a-z ]+)>", self.form)
        return re.compile(
            "".join(_part(part, is_placeholder=bool(number % 2)) for number, part in enumerate(parts)), re.DOTALL
        )


def _part(text: str, *, is_placeholder: bool) -> str:
    if not is_placeholder:
        return re.escape(text)
    return ".+?"


@cache
def documented() -> tuple[Documented, ...]:
    """Return the rows of the table; the longest forms first, since a shorter one may match what a longer one means."""
    rows = [Documented(form, kind, life.strip() == "stays") for form, kind, life in _ROW.findall(_DOCUMENT.read_text())]
    return tuple(sorted(rows, key=lambda row: -len(row.form)))


def row_of(name: str) -> Documented | None:
    """Return the row that a key belongs to."""
    return next((row for row in documented() if row.pattern.fullmatch(name)), None)


async def undocumented(redis: Redis) -> list[str]:
    """Return the keys that exist and that the table does not know, or knows with another type."""
    found = []
    async for raw in redis.scan_iter(count=1000):
        if not raw.startswith(_OURS):
            continue
        name, kind = raw.decode(), (await redis.type(raw)).decode()
        row = row_of(name)
        if kind != "none" and (row is None or row.kind != kind):
            found.append(f"{name} ({kind})")
    return found


async def immortal(redis: Redis) -> list[str]:
    """Return the keys that have no lifetime although the table says that they do."""
    found = []
    async for raw in redis.scan_iter(count=1000):
        row = row_of(raw.decode())
        if row is not None and not row.stays and await redis.pttl(raw) == -1:
            found.append(raw.decode())
    return found
