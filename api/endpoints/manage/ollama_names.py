"""The names of models as Ollama writes them: `[host/][namespace/]model[:tag]`. Pure.

Source: Ollama's types/model/name.go (`ParseName`, `isValidPart`, `isValidLen`, `DisplayShortest`).
"""

from __future__ import annotations

import re
from typing import Final

DEFAULT_TAG: Final = "latest"
_DEFAULT_HOSTS: Final = {"registry.ollama.ai", "ollama.com"}
_DEFAULT_NAMESPACE: Final = "library"
_NAME: Final = re.compile(
    r"(?:(?:(?P<host>\w[\w.:-]{0,349})/)?(?P<namespace>\w[\w-]{0,79})/)?"
    r"(?P<model>\w[\w.-]{0,79})(?::(?P<tag>\w[\w.-]{0,79}))?",
    re.ASCII,
)


def canonical_name(name: str) -> str:
    """Return the name as Ollama lists it: with its tag, without the host and the namespace that go without saying.

    Raises:
        ValueError: Ollama would not take it for a name.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError("not a model's name as Ollama writes it: [host/][namespace/]model[:tag]")
    host, namespace, model, tag = match.group("host", "namespace", "model", "tag")
    if host in _DEFAULT_HOSTS:
        host = None
    if host is None and namespace == _DEFAULT_NAMESPACE:
        namespace = None
    path = "/".join(part for part in (host, namespace, model) if part)
    return f"{path}:{tag or DEFAULT_TAG}"


def same_model(one: str, other: str) -> bool:
    """Return whether two canonical names mean one model: Ollama ignores upper and lower case."""
    return one.casefold() == other.casefold()
