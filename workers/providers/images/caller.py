"""For whom images are fetched, so that one caller's slow addresses take nothing from another's."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

caller: Final[ContextVar[str]] = ContextVar("caller", default="")
"""The id of the key whose request is served in this task; empty where there is none."""
