"""The relay's wire format: frames from workers to an api process, and the signals that answer them.

A message on an api's channel is the worker's id (16 bytes) and one or more frames; one on a worker's
control channel is the api's id (16 bytes) and one or more signals. Both kinds begin with the key of
an attempt: the request's id (16 bytes) and the attempt's number (1 byte).

    frame   key  kind u8  sequence u32  tokens u32  length u32  payload
    signal  key  kind u8  sequence u32

Sequence numbers count the frames of an attempt from 0. A BEAT carries the number that comes next, so
that a lost last frame is noticed too.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import TYPE_CHECKING, Final

from shared.errors import Cancelled, CancelledOnRequest, ClientTooSlow, DrainTimeout, RelayFault, Superseded

if TYPE_CHECKING:
    from collections.abc import Iterator

ID_SIZE: Final = 16
KEY_SIZE: Final = 17
MAX_PAYLOAD: Final = 256 * 1024
"""Of one frame, in bytes. Content and bodies are split; what else a frame may say is bounded where it comes from."""
EVERYTHING: Final = 0xFFFF_FFFF
"""As an acknowledged sequence number: nothing of this attempt is wanted any more."""

_frame_head = Struct(">BIII")
_FRAME_HEAD_SIZE: Final = KEY_SIZE + _frame_head.size
_signal = Struct(">17sBI")


class Kind(IntEnum):
    """The kind of a frame."""

    START = 1  # a worker holds the attempt now: its Target as JSON
    CONTENT = 2  # finished bytes for the client's stream; empty: the model began, nothing to send yet
    BODY = 3  # a part of the finished body of a reply that is not streamed; empty: the worker reads a large one
    END = 4  # the attempt is complete
    ERROR = 5  # the attempt failed: an ErrorInfo as JSON
    BEAT = 6  # the worker is alive and holds the attempt


class Signal(IntEnum):
    """The kind of an api process's answer."""

    ACK = 1  # every frame before this number has arrived
    RESEND = 2  # send again from this number on
    CANCEL = 3  # stop the attempt; the number is a CancelReason
    CHECK = 4  # about no attempt: a doctor asks what the upstreams say (shared/process/checkup.py)


class CancelReason(IntEnum):
    """The reason of a cancellation: the sequence number of a CANCEL."""

    CLIENT_LEFT = 0
    CLIENT_TOO_SLOW = 1
    SUPERSEDED = 2
    DRAINING = 3
    FAULT = 4
    BY_OPERATOR = 5
    BY_OWNER = 6


CANCELLED_BY: Final = {CancelReason.BY_OPERATOR: "the operator", CancelReason.BY_OWNER: "its owner"}
"""Those who may ask that a request ends, for people."""


def cancelled_for(reason: int) -> Cancelled:
    """Return how a cancellation stands in the usage log."""
    if reason == CancelReason.CLIENT_TOO_SLOW:
        return ClientTooSlow("The client reads too slowly.")
    if reason == CancelReason.SUPERSEDED:
        return Superseded("Another worker has this attempt.")
    if reason == CancelReason.DRAINING:
        return DrainTimeout("The api process ends.")
    if reason in CANCELLED_BY:
        return CancelledOnRequest.by_whom(CANCELLED_BY[CancelReason(reason)])
    if reason == CancelReason.FAULT:
        return RelayFault("A frame could not be read.")
    return Cancelled("The client has left.")


def attempt_key(request_id: str, attempt: int) -> bytes:
    """Return the key of an attempt on the relay, 17 bytes, from its request's hex digits."""
    return bytes.fromhex(request_id) + bytes((attempt,))


def encode_frame(key: bytes, kind: Kind, sequence: int, tokens: int, payload: bytes | memoryview) -> bytes:
    return b"".join((key, _frame_head.pack(kind, sequence, tokens, len(payload)), payload))


class MalformedMessage(Exception):
    """A message on a channel of the relay cannot be read."""


def decode_frames(message: bytes) -> Iterator[tuple[bytes, int, int, int, bytes]]:
    """Yield the frames of a message after its worker id: key, kind, sequence, tokens, payload.

    Raises:
        MalformedMessage: it ends in the middle of a frame; those before have been given.
    """
    position, end = ID_SIZE, len(message)
    while position < end:
        if end - position < _FRAME_HEAD_SIZE:
            raise MalformedMessage("a frame's head is cut off")
        key = message[position : position + KEY_SIZE]
        kind, sequence, tokens, length = _frame_head.unpack_from(message, position + KEY_SIZE)
        position += _FRAME_HEAD_SIZE
        # What came before is given all the same: the gap is asked for again by its number.
        if end - position < length:
            raise MalformedMessage("a frame's payload is cut off")
        yield key, kind, sequence, tokens, message[position : position + length]
        position += length


def encode_signal(key: bytes, signal: Signal, sequence: int) -> bytes:
    return _signal.pack(key, signal, sequence)


def decode_signals(message: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Return the signals of a message after its api id: key, kind, sequence.

    Raises:
        MalformedMessage: it holds no whole number of signals.
    """
    if len(message) < ID_SIZE or (len(message) - ID_SIZE) % _signal.size:
        raise MalformedMessage("a signal is cut off")
    return _signal.iter_unpack(message[ID_SIZE:])
