"""Models of the Gemini API as they are announced, with what it does not say of Gemma's. Pure.

Source: google.ai.generativelanguage.v1beta (Model); ai.google.dev, "Run Gemma with the Gemini API" (November 2026:
Gemma 4, which thinks or does not). Of Gemma 3 and before: "Developer instruction is not enabled", "Function calling is
not enabled" and "JSON mode is not enabled for models/gemma-3-27b-it" (CherryHQ/cherry-studio#3242,
vercel/ai#8080, google/adk-python#2857).
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Final

import msgspec

from shared.types import LocalModel

PLAIN_LACKS: Final = ("tools", "response_format", "reasoning_effort")
"""Parameters that `is_plain` models do not take, in the words of `shared/models/abilities.py`."""
_PLAIN: Final = re.compile(r"gemma-[1-3]")


def is_plain(model: str) -> bool:
    """Return whether a model knows texts and images of two roles alone: no instructions, tools, or schemas."""
    return _PLAIN.match(model) is not None


class Model(msgspec.Struct, rename="camel"):
    """A model in the API's list."""

    bare_text: ClassVar = "name"
    aliases: ClassVar = {"name": ("id",)}
    name: str
    input_token_limit: int | None = None
    supported_generation_methods: list[str] | None = None
    thinking: Any = None

    def to_model(self) -> LocalModel:
        """Return the model as it is announced."""
        name = self.name.removeprefix("models/")
        plain = PLAIN_LACKS if is_plain(name) else ()
        return LocalModel(
            name,
            context_length=self.input_token_limit,
            endpoints=("chat",),
            cannot=plain or (("reasoning_effort",) if self.thinking is False else ()),
            can=("reasoning_effort",) if self.thinking is True and not plain else (),
        )


class ModelPage(msgspec.Struct, rename="camel"):
    """One page of the API's list."""

    bare_array: ClassVar = "models"
    models: list[Model] | None = None
    next_page_token: str | None = None
