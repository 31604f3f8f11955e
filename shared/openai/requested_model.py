"""The model that a request asks for, also where nothing else of it can be read. Pure: no I/O, no clock."""

from __future__ import annotations

import msgspec

from shared.types import MOST_NAME_CHARS


class _OnlyModel(msgspec.Struct):
    model: str = ""


_model_decoder = msgspec.json.Decoder(_OnlyModel)


def requested_model(raw: bytes) -> str:
    """Return the model that a request asks for, whatever else is wrong with it, or the start of a name too long.

    Empty where it names none.
    """
    try:
        return _model_decoder.decode(raw).model[:MOST_NAME_CHARS]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
