"""An Ollama server's models and version, turned into what is announced. Pure: no I/O.

Source of the shapes: Ollama's api/types.go (ListResponse, ShowResponse, ProcessResponse), types/model/capability.go and
docs/api.md. Capabilities came with 0.6.4 (its release notes), `truncate` and `shift` of /api/chat with 0.12.6 (pull
request 12582, merged between the releases of 0.12.5 and 0.12.6).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime
from typing import Any, ClassVar, Final

import msgspec

from shared.models.catalogue import endpoints_of
from shared.types import LocalModel

FIRST_THAT_REFUSES: Final = (0, 12, 6)
_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")
_CLOUD: Final = re.compile(r":([^:/]*-)?cloud$")
_DEVELOPMENT: Final = (0, 0, 0)
_NEEDED_FOR: Final = {"tools": "tools", "vision": "images", "thinking": "reasoning_effort"}
"""The capability without which a model cannot do something, and what that is."""


class Tag(msgspec.Struct):
    """A model that is pulled; one with a `remote_host` is a name for a model that runs there."""

    bare_text: ClassVar = "name"
    aliases: ClassVar = {"name": ("model",)}
    name: str
    digest: str = ""
    modified_at: str = ""
    remote_host: str = ""

    @property
    def is_remote(self) -> bool:
        """Return whether prompts to it leave the machine: its entry or its tag says so, as with Ollama's own."""
        return bool(self.remote_host) or _CLOUD.search(self.name) is not None


class Tags(msgspec.Struct):
    """The answer to /api/tags."""

    bare_array: ClassVar = "models"
    models: list[Tag] | None = None


class Show(msgspec.Struct):
    """The answer to /api/show; older servers name no capabilities."""

    model_info: dict[str, Any] | None = None
    capabilities: list[str] | None = None


class Running(msgspec.Struct):
    """A model that is in memory."""

    name: str = ""


class RunningModels(msgspec.Struct):
    """The answer to /api/ps."""

    models: list[Running] | None = None


class Version(msgspec.Struct):
    """The answer to /api/version."""

    version: str = ""


class ModelFacts(msgspec.Struct, frozen=True):
    """The facts of /api/show about a model: its longest context in tokens and its capabilities; None is not known."""

    context_length: int | None = None
    capabilities: frozenset[str] | None = None

    @property
    def cannot(self) -> tuple[str, ...]:
        """Return what the model cannot do, in the words of `shared.models.abilities`."""
        had = self.capabilities
        if not had or "completion" not in had:
            return ()
        return tuple(ability for capability, ability in _NEEDED_FOR.items() if capability not in had)


def to_facts(show: Show) -> ModelFacts:
    """Return what /api/show says: the `<architecture>.context_length`, if any, and the capabilities."""
    info = show.model_info or {}
    length = info.get(f"{info.get('general.architecture')}.context_length")
    capabilities = None if show.capabilities is None else frozenset(show.capabilities)
    return ModelFacts(length if isinstance(length, int) else None, capabilities)


def to_local_model(tag: Tag, facts: ModelFacts, num_ctx: int, running: Collection[str]) -> LocalModel:
    """Return a pulled model as it is announced.

    Args:
        tag: its entry in the list.
        facts: what is known of it.
        num_ctx: the context that it is loaded with, in tokens, unless it has less.
        running: the names of the models in memory.
    """
    had = facts.capabilities or ()
    embeds_only = "embedding" in had and "completion" not in had
    length = facts.context_length
    return LocalModel(
        id=tag.name,
        created=_seconds(tag.modified_at),
        context_length=None if length is None else min(length, num_ctx),
        endpoints=("embeddings",) if embeds_only else endpoints_of(tag.name),
        cannot=facts.cannot,
        is_loaded=tag.name in running,
        loads_on_request=True,
        can_extend_context=True,
    )


def cuts_prompts(version: str) -> bool:
    """Return whether a server of this version cuts a prompt that is too long, as it does not know `truncate` yet.

    One that does not say its version is taken to; a build of a developer's (0.0.0) is taken for the newest.
    """
    found = _VERSION.match(version)
    if found is None:
        return True
    number = (int(found[1]), int(found[2]), int(found[3]))
    return number != _DEVELOPMENT and number < FIRST_THAT_REFUSES


def _seconds(timestamp: str) -> int:
    """Convert an RFC 3339 time to seconds since 1970; return 0 if it is none."""
    try:
        return int(datetime.fromisoformat(timestamp).timestamp())
    except ValueError:
        return 0
