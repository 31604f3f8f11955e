"""Requests of the gateway's own: their purpose, and the result of those for vectors."""

from __future__ import annotations

from array import array

import msgspec

from shared.types import OwnPurpose


class OwnRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The purpose of a request of our own, and its bounds.

    Args:
        purpose: as the usage log names it.
        timeout_s: how long it may take in all, in seconds.
        key_id: of the key that caused it, None where none did.
        is_awaited: whether somebody waits for it; else everybody else's requests come first.
    """

    purpose: OwnPurpose
    timeout_s: float
    key_id: str | None = None
    is_awaited: bool = False


class OwnVectors(msgspec.Struct, frozen=True):
    """Vectors, one for each text, and the model that made them."""

    model: str
    vectors: list[array[float]]
