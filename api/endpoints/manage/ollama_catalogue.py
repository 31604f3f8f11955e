"""Models that are worth installing on one's own hardware, and which of them a machine has room for. Pure.

Tags and sizes are those of Ollama's library (ollama.com/library), 4-bit quantizations. The qwen3.5 family needs an
Ollama of 2026; an older one says so when it is asked to pull.
"""

from __future__ import annotations

import math
import re
from typing import Final, Literal

import msgspec

from api.endpoints.manage.ollama_names import canonical_name

DOWNLOAD_GB_PER_MINUTE: Final = 0.6
"""Assumed for estimates: 80 Mbit/s."""
_GB_PER_BILLION: Final = 0.65
_PARAMETERS: Final = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)b(?![\d.])", re.IGNORECASE)


class Installable(msgspec.Struct, frozen=True):
    """A model of Ollama's library.

    Args:
        tag: its name there.
        download_gb: its size, in GB (10^9 bytes).
        purpose: what it is for.
    """

    tag: str
    download_gb: float
    purpose: Literal["chat", "embeddings"] = "chat"

    @property
    def ram_gb(self) -> float:
        """Estimate the memory it needs, in GB: its weights, a fifth for a context of 8k tokens, and 1 GB around it."""
        return math.ceil(2 * (1.2 * self.download_gb + 1)) / 2


CATALOGUE: Final = (
    Installable("qwen3:0.6b", 0.52),
    Installable("gemma3:1b", 0.82),
    Installable("qwen3.5:0.8b", 1.0),
    Installable("qwen3:1.7b", 1.4),
    Installable("llama3.2:3b", 2.0),
    Installable("qwen3:4b", 2.5),
    Installable("gemma3:4b", 3.3),
    Installable("qwen3.5:4b", 3.4),
    Installable("qwen3:8b", 5.2),
    Installable("qwen3.5:9b", 6.6),
    Installable("gpt-oss:20b", 14.0),
    Installable("qwen3:30b", 19.0),
    Installable("qwen3.5:35b", 24.0),
    Installable("nomic-embed-text", 0.27, "embeddings"),
)
"""Those for chat from the weakest to the strongest."""


def recommended(free_ram_gb: float | None) -> Installable | None:
    """Return the strongest chat model that fits, None where none does; the smallest where free memory is not known."""
    chat = [model for model in CATALOGUE if model.purpose == "chat"]
    if free_ram_gb is None:
        return chat[0]
    return next((model for model in reversed(chat) if model.ram_gb <= free_ram_gb), None)


def estimated_minutes(name: str) -> int | None:
    """Estimate the whole minutes that a download takes; None where the name does not tell how large the model is."""
    canonical = canonical_name(name)
    for model in CATALOGUE:
        if canonical_name(model.tag) == canonical:
            return math.ceil(model.download_gb / DOWNLOAD_GB_PER_MINUTE)
    found = _PARAMETERS.search(canonical)
    return math.ceil(float(found[1]) * _GB_PER_BILLION / DOWNLOAD_GB_PER_MINUTE) if found else None
