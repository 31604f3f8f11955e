"""Reads JSON of upstreams: strictly where that succeeds, which is fast, else by taking what can be taken. Pure.

A field of another JSON type than its own is turned into it where that is meant (`"7"` for 7), and is otherwise as if it
were missing. What is no JSON by the letter but is sent as such is read too: NaN and Infinity (Python's servers), bytes
that are no UTF-8 and halves of surrogate pairs (tokens cut in a character), which become U+FFFD, control characters in
texts, a byte order mark.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import msgspec
from msgspec import inspect

from shared.errors import Malformed

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_MISSING: Final = object()
_readers: dict[Any, Callable[[bytes], Any]] = {}
_HALF: Final = re.compile(r"\\u[dD][89a-fA-F]")
_BETWEEN: Final = re.compile(r"[\s,]*")
_MOST_DIGITS: Final = 300
_OF_PARTS: Final = frozenset({"type", "text", "thinking", "image_url"})
_TRUTH: Final = {"true": True, "1": True, "false": False, "0": False, "": False}


def json_reader(kind: type[T], *, takes_anything: bool = False) -> Callable[[bytes], T]:
    """Return a function that reads JSON as a value of a type.

    It raises Malformed for what is no JSON, or lacks what the type needs: its fields without a default, and the array
    that its `bare_array` names, in the place of which the whole may be an array. In the place of an object may stand
    the text that its `bare_text` names, and in that of a field one of those that `aliases` has for it. A field that is
    renamed may have its own name too: Google's SDKs write `finish_reason` where its API has `finishReason`.

    Args:
        kind: the type.
        takes_anything: whether JSON of another type is the type without any of its fields, as an event that says
            nothing.
    """
    known = _readers.get((kind, takes_anything))
    if known is not None:
        return known
    decode = msgspec.json.Decoder(kind).decode
    coerce = _coercion(info := inspect.type_info(kind))
    own_names = "|".join(_renamed(info)).encode()
    by_own_name = re.compile(rb'"(?:%b)"\s*+:' % own_names).search if own_names else None

    def read(data: bytes) -> T:
        try:
            if by_own_name is None or by_own_name(data) is None:
                return decode(data)
        except UNREADABLE:
            pass
        value = read_any(data)
        try:
            coerced = coerce(value)
            coerced = coerce({}) if coerced is _MISSING and takes_anything else coerced
        except RecursionError:
            coerced = _MISSING
        if coerced is _MISSING:
            raise Malformed("The model server's answer cannot be read.")
        return coerced  # type: ignore[no-any-return]  # of the given type

    _readers[kind, takes_anything] = read
    return read


def read_any(data: bytes) -> Any:
    """Return what JSON says, whatever it is.

    Raises:
        Malformed: it is no JSON.
    """
    try:
        return msgspec.json.decode(data)
    except UNREADABLE:
        pass
    text = bytes(data).decode("utf-8-sig", "replace")
    try:
        value = json.loads(text, strict=False, parse_int=_to_number)
        return _whole_characters(value) if _HALF.search(text) else value
    except (ValueError, RecursionError):
        raise Malformed("The model server's answer cannot be read.") from None


def values_in(data: bytes) -> list[bytes]:
    """Return the JSON of each value in a text, where several may stand one after another, or be a list of them.

    Raises:
        Malformed: one of them is no JSON.
    """
    text = bytes(data).decode("utf-8-sig", "replace").strip()
    decoder = json.JSONDecoder(strict=False, parse_int=_to_number)
    found: list[bytes] = []
    at = 0
    try:
        while at < len(text):
            value, end = decoder.raw_decode(text, at)
            if isinstance(value, list):
                found += [msgspec.json.encode(_whole_characters(each)) for each in value]
            else:
                found.append(text[at:end].encode())
            between = _BETWEEN.match(text, end)
            at = end if between is None else between.end()
    except (ValueError, RecursionError):
        raise Malformed("The model server's answer cannot be read.") from None
    return found


def _to_number(digits: str) -> int | float:
    """Return an integer, or a float where it is so long that Python would refuse to read it."""
    return int(digits) if len(digits) < _MOST_DIGITS else float(digits)


def _whole_characters(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_whole_characters(each) for each in value]
    if isinstance(value, dict):
        return {_whole_characters(name): _whole_characters(each) for name, each in value.items()}
    return value


def _coercion(info: inspect.Type) -> Callable[[Any], Any]:
    """Return a function that turns decoded JSON into a type, or into _MISSING."""
    if isinstance(info, inspect.Metadata):
        coerce: Callable[[Any], Any] | None = (info.extra or {}).get("coerce")
        return coerce or _coercion(info.type)
    if isinstance(info, inspect.UnionType):
        return _to_one_of([_coercion(each) for each in info.types])
    if isinstance(info, inspect.StructType):
        return _to_struct(info)
    if isinstance(info, inspect.ListType):
        return _to_list(_coercion(info.item_type))
    return _SCALARS.get(type(info), _to_any)


def _to_one_of(coercions: list[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """Return a function that takes the first type that a value has already, else the first that it can be made."""

    def coerce(value: Any) -> Any:
        made = [each(value) for each in coercions]
        same = [each for each in made if type(each) is type(value)]
        return next((each for each in [*same, *made] if each is not _MISSING), _MISSING)

    return coerce


def _renamed(info: Any) -> set[str]:
    """Return the names of all fields in a type that have another one in JSON."""
    if isinstance(info, inspect.StructType):
        own = {each.name for each in info.fields if each.name != each.encode_name}
        return own.union(*(_renamed(each.type) for each in info.fields))
    inner = (*getattr(info, "types", ()), getattr(info, "item_type", None), getattr(info, "type", None))
    return set().union(*map(_renamed, filter(None, inner)))


def _to_struct(info: inspect.StructType) -> Callable[[Any], Any]:
    array, text = getattr(info.cls, "bare_array", None), getattr(info.cls, "bare_text", None)
    aliases = getattr(info.cls, "aliases", {})
    fields = [
        (each.name, (each.encode_name, each.name, *aliases.get(each.name, ())), each.required, _coercion(each.type))
        for each in info.fields
    ]

    def coerce(value: Any) -> Any:
        if isinstance(value, list):
            value = {array: value} if array else value[0] if len(value) == 1 else None
        if isinstance(value, str) and text:
            value = {text: value}
        if not isinstance(value, dict):
            return _MISSING
        found: dict[str, Any] = {}
        for name, given_names, is_required, to_type in fields:
            given = next((each for each in given_names if each in value), None)
            made = _MISSING if given is None else to_type(value[given])
            if made is not _MISSING:
                found[name] = made
            elif is_required or (given is not None and name == array):
                return _MISSING
        return info.cls(**found)

    return coerce


def _to_list(to_item: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function that leaves out the items that cannot be read, and takes one object for a list of it."""

    def coerce(value: Any) -> Any:
        if not isinstance(value, list | dict):
            return _MISSING
        made = [to_item(each) for each in (value if isinstance(value, list) else [value])]
        return [each for each in made if each is not _MISSING]

    return coerce


def _to_any(value: Any) -> Any:
    return value


def _to_none(value: Any) -> Any:
    return None if value is None else _MISSING


def _to_dict(value: Any) -> Any:
    return value if isinstance(value, dict) else _MISSING


def _to_raw(value: Any) -> Any:
    return msgspec.Raw(msgspec.json.encode(value))


def _to_str(value: Any) -> Any:
    return value if isinstance(value, str) else _MISSING


def _to_word(value: Any) -> Any:
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, int | float) else _MISSING


def _to_answer(value: Any) -> Any:
    """Return the text of a part, or of several, and the JSON of anything else: it is what the model said."""
    if not value and isinstance(value, dict | list):
        return _MISSING
    if isinstance(value, dict | list):
        return part_text(value)
    return _to_word(value)


def part_text(part: Any) -> str:
    """Return what a part of a message says: its text, those of its parts, or the JSON that it is."""
    if isinstance(part, list) and are_parts(part):
        return "".join(map(part_text, part))
    if isinstance(part, dict) and isinstance(text := part.get("text"), dict) and isinstance(text.get("value"), str):
        part = text["value"]  # as in messages of OpenAI's Assistants
    if isinstance(part, dict) and (part.keys() <= {"type", "text"} or isinstance(part.get("text"), str)):
        part = part.get("text")
    if isinstance(part, str) or part is None:
        return part or ""
    return msgspec.json.encode(part).decode()


def are_parts(values: list[Any]) -> bool:
    """Return whether a list is one of parts, and not what a model wrote as JSON."""
    return all(
        value is None or isinstance(value, str) or (isinstance(value, dict) and not value.keys().isdisjoint(_OF_PARTS))
        for value in values
    )


def _to_bool(value: Any) -> Any:
    if isinstance(value, str):
        return _TRUTH.get(value.lower(), _MISSING)
    return bool(value) if isinstance(value, int | float) else _MISSING


def _to_float(value: Any) -> Any:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return _MISSING
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else _MISSING


def _to_int(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    number = _to_float(value)
    return int(number) if number is not _MISSING and number.is_integer() else _MISSING


_SCALARS: Final[dict[type[inspect.Type], Callable[[Any], Any]]] = {
    inspect.NoneType: _to_none,
    inspect.BoolType: _to_bool,
    inspect.IntType: _to_int,
    inspect.FloatType: _to_float,
    inspect.StrType: _to_str,
    inspect.RawType: _to_raw,
    inspect.DictType: _to_dict,
}

Word = Annotated[str, msgspec.Meta(extra={"coerce": _to_word})]
"""A text in the place of which some servers send what it would be as JSON: 7 for `7`."""
Text = Annotated[str, msgspec.Meta(extra={"coerce": _to_answer})]
"""A text of the answer itself, which may come as any JSON: what is not read as it is, is the JSON's own text."""
