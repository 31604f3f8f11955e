"""Models of OpenAI-compatible servers, turned into what is announced of them. Pure: no I/O.

Source of the shapes: llama.cpp's server (`server_models` and `/props` of tools/server), vLLM (`ModelCard`). OpenAI and
others say no more than a model's name.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any, ClassVar, Final

import msgspec

from shared.models.catalogue import endpoints_of
from shared.types import LocalModel
from workers.providers.replies.json_reader import Word

_LOADED_BY: Final = frozenset({"llamacpp", "vllm"})
"""Servers that have their models in memory before they list them."""


class TemplateAbilities(msgspec.Struct, frozen=True):
    """Abilities of a chat template (llama.cpp's `chat_template_caps`); what is not said is so."""

    supports_tools: bool = True
    supports_reasoning_effort: bool = True

    @property
    def cannot(self) -> tuple[str, ...]:
        """Return what it leaves out, in the words of `shared.models.abilities`."""
        tools = () if self.supports_tools else ("tools",)
        return tools if self.supports_reasoning_effort else (*tools, "reasoning_effort")


class Props(msgspec.Struct):
    """The answer to llama.cpp's /props."""

    chat_template_caps: TemplateAbilities = TemplateAbilities()
    total_slots: int | None = None


class _Meta(msgspec.Struct):
    n_ctx: int | None = None


class _Architecture(msgspec.Struct):
    input_modalities: list[str] | None = None


class _Status(msgspec.Struct):
    value: str = ""


class _Model(msgspec.Struct):
    bare_text: ClassVar = "id"
    aliases: ClassVar = {"id": ("name", "model")}
    id: Word
    created: float | None = None  # a decimal at some servers
    owned_by: str | None = None
    max_model_len: int | None = None
    meta: _Meta | None = None
    architecture: _Architecture | None = None
    status: _Status | None = None
    shutdown_date: Any = None

    @property
    def shutdown(self) -> str:
        """Return the day from which it is gone, as OpenAI says it (a date, or seconds since 1970); empty if unknown."""
        try:
            if isinstance(self.shutdown_date, int | float):
                return datetime.fromtimestamp(self.shutdown_date, UTC).date().isoformat()
            return date.fromisoformat(self.shutdown_date[:10]).isoformat()
        except (TypeError, ValueError, OverflowError, OSError):
            return ""

    @property
    def is_loaded(self) -> bool:
        """Return whether it is in memory; llama.cpp in front of many models reports each."""
        return self.owned_by in _LOADED_BY and (self.status is None or self.status.value == "loaded")

    @property
    def cannot(self) -> tuple[str, ...]:
        """Return what its architecture does not take. llama.cpp has no files at all."""
        inputs = self.architecture and self.architecture.input_modalities
        if not inputs:
            return ()
        missing = [ability for kind, ability in (("image", "images"), ("audio", "audio")) if kind not in inputs]
        return (*missing, "files") if self.owned_by == "llamacpp" else tuple(missing)


class ModelList(msgspec.Struct):
    """The answer to /models."""

    bare_array: ClassVar = "data"
    aliases: ClassVar = {"data": ("models", "result")}
    data: list[_Model] | None

    @property
    def is_llama_cpp(self) -> bool:
        """Return whether this is llama.cpp with one model, so that /props is about that."""
        return self.data is not None and len(self.data) == 1 and self.data[0].owned_by == "llamacpp"

    def to_models(self, template: TemplateAbilities) -> list[LocalModel]:
        """Return the models as they are announced; the context length is llama.cpp's of one slot or vLLM's."""
        return [
            LocalModel(
                id=model.id,
                created=int(model.created or 0),
                context_length=(model.meta and model.meta.n_ctx) or model.max_model_len,
                endpoints=endpoints_of(model.id),
                cannot=(*model.cannot, *template.cannot),
                shutdown=model.shutdown,
                is_loaded=model.is_loaded,
            )
            for model in {model.id: model for model in self.data or () if model.id}.values()
        ]
