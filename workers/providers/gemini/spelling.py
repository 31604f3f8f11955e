"""Fields of Google's APIs as its SDKs for Python write them (`finish_reason`), under the API's own names. Pure."""

from __future__ import annotations

import re
from typing import Any, Final

_NEXT_WORD: Final = re.compile(r"_([a-z])")


def in_camel_case(value: Any) -> Any:
    """Return a decoded value whose objects have the API's names, at every depth."""
    if isinstance(value, list):
        return [in_camel_case(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {_NEXT_WORD.sub(lambda found: found[1].upper(), name): in_camel_case(each) for name, each in value.items()}
