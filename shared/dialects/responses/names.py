"""The names that a client of Responses has for what a chat calls otherwise. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.errors import GatewayError

_FIELDS: Final = {
    "reasoning_effort": "reasoning.effort",
    "response_format": "text.format",
    "response_format.json_schema": "text.format",
    "max_completion_tokens": "max_output_tokens",
    "max_tokens": "max_output_tokens",
    "verbosity": "text.verbosity",
    "logprobs": "include",
    "messages": "input",
}
_PATH: Final = re.compile(
    r"(?<![\w.])(?:response_format(?:\.json_schema)?|[a-z_]+)(?![\w])",
)
# In prose only names that are no words of English.
_IN_TEXT: Final = re.compile(
    r"(?<![\w.])(?:response_format(?:\.json_schema)?|reasoning_effort|max_completion_tokens|max_tokens|"
    r"(?<=')(?:verbosity|logprobs|messages)(?=['\[.]))(?!\w)"
)
_TYPE: Final = re.compile(r"(?:input|tools)\[.*\.type|tool_choice\.type", re.DOTALL)
PLACE: Final = re.compile(r"(?:messages|tools)\[[0-9]{1,9}\][\w.\[\]]*")
"""A message or a tool of a chat, and what is in it."""


def field_name(param: str) -> str:
    """Return the client's name of a field of a chat that is no part of a list."""
    found = _PATH.match(param)
    if found is None or found.group() not in _FIELDS:
        return param
    return _FIELDS[found.group()] + param[found.end() :]


def name_fields(error: GatewayError) -> None:
    """Let an error name fields by the client's names; where it does already, nothing changes."""
    if error.code == "unsupported_parameter" and _TYPE.fullmatch(error.param or ""):
        error.message = (
            f"{error.message} Items and tools that OpenAI itself runs have no place elsewhere: leave it out."
        )
    error.message = _IN_TEXT.sub(lambda found: _FIELDS[found.group()], error.message)
    if error.param:
        error.param = field_name(error.param)


def name_places(error: GatewayError, named: Callable[[str], str]) -> None:
    """Let an error name what is in lists as `named` does."""
    error.message = PLACE.sub(lambda found: named(found.group()), error.message)
    if error.param:
        error.param = named(error.param)
