"""Identifiers: a request is 16 bytes, and every name it has in the product is made of their hex digits."""

from __future__ import annotations

import os
import time


def new_request_id() -> bytes:
    """Make a request's id: 16 bytes, a UUID of version 7 (RFC 9562), so that ids sort by time."""
    stamp = time.time_ns() // 1_000_000
    number = (stamp << 80) | int.from_bytes(os.urandom(10), "big")
    number &= ~(0xF000 << 64) & ~(0xC000 << 48)
    return (number | (0x7000 << 64) | (0x8000 << 48)).to_bytes(16, "big")


def completion_id(request_id: bytes) -> str:
    """Return the `id` of a chat completion."""
    return "chatcmpl-" + request_id.hex()


def job_id(request_id: bytes, attempt: int) -> str:
    """Return the arq job id of an attempt: the request's hex digits and the attempt's number."""
    return f"{request_id.hex()}-{attempt}"
