"""The doctor's findings."""

from __future__ import annotations

from typing import Literal

import msgspec

State = Literal["ok", "note", "unchecked", "wrong"]
"""`note`: works, but not as it should be relied on. `unchecked`: could not be found out, and says why."""


class Finding(msgspec.Struct, frozen=True, omit_defaults=True, rename={"text": "said"}):  # names on wires stay
    """One thing that was looked at.

    Attributes:
        part: what it belongs to, in a word.
        state: how it is.
        text: what was found; no credential.
        mend: what to do about it, where something is to be done.
    """

    part: str
    state: State
    text: str
    mend: str = ""
