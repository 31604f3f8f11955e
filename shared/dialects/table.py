"""The table of dialects: one row each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shared.dialects.chat import ChatDialect
from shared.dialects.responses.dialect import ResponsesDialect

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.dialects.base import Dialect
    from shared.types import DialectName

DIALECTS: Final[Mapping[DialectName, Dialect]] = {"chat": ChatDialect(), "responses": ResponsesDialect()}
