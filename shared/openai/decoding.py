"""JSON bodies of clients, decoded: errors name the field in OpenAI's notation. Pure."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from shared.errors import InvalidRequest

T = TypeVar("T")


def json_of(raw: bytes | msgspec.Raw) -> Any:
    """Return a request body as JSON values.

    Raises:
        InvalidRequest: it is no JSON.
    """
    try:
        # All of it: decoding into a type skips fields that it does not have, and what nobody could read in them.
        return msgspec.json.decode(raw)
    except msgspec.ValidationError:
        raise InvalidRequest("The request body has a number that is out of range.", code="invalid_json") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidRequest(
            "We could not parse the JSON body of your request. The body must be a JSON object in UTF-8.",
            code="invalid_json",
        ) from None


def decoded(kind: type[T], raw: bytes | msgspec.Raw) -> T:
    """Return a request body as a value of `kind`.

    Raises:
        InvalidRequest: it is not JSON, or a field is wrong; `param` names the field.
    """
    value = json_of(raw)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise invalid_field(str(error)) from None


_WHERE = re.compile(r" - at `(?:key in )?\$\.?(.*)`$", re.DOTALL)
_MISSING = re.compile(r"missing required field `(.+?)`")


def invalid_field(text: str) -> InvalidRequest:
    """Return the error for msgspec's text of a validation error, with the field in OpenAI's notation."""
    where = _WHERE.search(text)
    param = where.group(1) if where else ""
    message = text[: where.start()] if where else text
    missing = _MISSING.search(message)
    if missing:
        param = f"{param}.{missing.group(1)}" if param else missing.group(1)
        return InvalidRequest(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")
    if not param:
        return InvalidRequest("The request body must be a JSON object.", code="invalid_type")
    code = "invalid_type" if message.startswith("Expected") and "got" in message else "invalid_value"
    return InvalidRequest(f"Invalid value for '{param}': {message}.", param=param, code=code)
