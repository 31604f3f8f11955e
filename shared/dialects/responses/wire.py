"""Values of a Responses request as msgspec checks them: errors name the client's place, unknown fields too. Pure."""

from __future__ import annotations

import re
from typing import Any, Final, TypeVar

import msgspec

from shared.errors import InvalidRequest
from shared.openai.decoding import invalid_field

T = TypeVar("T")

_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.+?)`(?: - at `\$\.?(.*)`)?$", re.DOTALL)
_WHERE: Final = re.compile(r" - at `\$\.?(.*)`$", re.DOTALL)


def converted(value: Any, kind: type[T], place: str) -> T:
    """Return a JSON value as a value of `kind`.

    Args:
        value: nulls in objects are as if they were not there.
        kind: what it should be.
        place: where it stands in the request.

    Raises:
        InvalidRequest: it is something else; `param` names what.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise _invalid(str(error), place) from None


def without_nulls(value: Any) -> Any:
    """Return an object without the fields that are null; whatever else as it is."""
    if isinstance(value, dict) and None in value.values():
        return {name: field for name, field in value.items() if field is not None}
    return value


def unknown_field(param: str) -> InvalidRequest:
    """Return the error for a field that OpenAI's document does not name."""
    return InvalidRequest(f"Unknown parameter: '{param}'.", param=param, code="unknown_parameter")


def _invalid(text: str, place: str) -> InvalidRequest:
    if unknown := _UNKNOWN.search(text):
        name, inner = unknown.groups()
        return unknown_field(".".join(filter(None, (place, inner, name))))
    where = _WHERE.search(text)
    inner = where.group(1) if where else ""
    text = text[: where.start()] if where else text
    return invalid_field(f"{text} - at `$.{_inside(place, inner)}`")


def _inside(place: str, inner: str) -> str:
    if not place or inner.startswith("["):
        return place + inner
    return f"{place}.{inner}" if inner else place
