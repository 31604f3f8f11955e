"""What would be computed anew for each app and each HTTP client of the tests, computed once for each process."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
from werkzeug.routing import Rule

if TYPE_CHECKING:
    from collections.abc import Callable

_compile_builder = Rule._compile_builder
_builders: dict[tuple[object, ...], Callable[..., tuple[str, str]]] = {}


def compile_urls_once() -> None:
    """Let rules of one URL share what builds it: an app has 160, for each of which werkzeug compiles two functions."""
    setattr(Rule, _compile_builder.__name__, _shared_builder)


def read_authorities_once() -> None:
    """Let HTTP clients share the authorities of the internet: reading them takes 25 ms, and there are thousands."""
    vars(httpx._transports.default)["create_ssl_context"] = functools.cache(httpx.create_ssl_context)
    vars(httpx2._transports.default)["create_ssl_context"] = functools.cache(httpx2.create_ssl_context)


def _shared_builder(rule: Rule, append_unknown: bool = True) -> Any:  # noqa: FBT001, FBT002 -- as werkzeug's
    # All that it reads of the rule; what it returns is bound to each of them.
    key = (tuple(rule._trace), repr(rule.defaults), append_unknown)
    if key not in _builders:
        _builders[key] = _compile_builder(rule, append_unknown)
    return _builders[key]
