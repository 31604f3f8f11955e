"""The table of dialects: one row each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shared.dialects.chat import ChatDialect
from shared.dialects.responses.dialect import ResponsesDialect
from shared.errors import WorkerOutdated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.dialects.base import Dialect

DIALECTS: Final[Mapping[str, Dialect]] = {"chat": ChatDialect(), "responses": ResponsesDialect()}


def dialect_of(name: str) -> Dialect:
    """Return the dialect of a job.

    Raises:
        WorkerOutdated: an api process of a newer version has made the job.
    """
    if (found := DIALECTS.get(name)) is None:
        raise WorkerOutdated(f"This worker is of a version that does not know requests in the form '{name[:64]}'.")
    return found
