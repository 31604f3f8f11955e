"""Identifiers: a request is 32 hex digits, and every name it has in the product is made of them."""

from __future__ import annotations

import os
import time


def new_request_id() -> str:
    """Return a new request id: the hex digits of a UUID of version 7 (RFC 9562), so that ids sort by time."""
    stamp = time.time_ns() // 1_000_000
    number = (stamp << 80) | int.from_bytes(os.urandom(10), "big")
    # Makes room for the version and the variant, which the next line sets.
    number &= ~(0xF000 << 64) & ~(0xC000 << 48)
    return f"{number | (0x7000 << 64) | (0x8000 << 48):032x}"


def admitted_ms(name: str) -> int:
    """Return when a request id was made, also as a job's id begins with it; milliseconds since 1970."""
    return int(name[:12], 16)


def completion_id(request_id: str) -> str:
    """Return the `id` of a chat completion."""
    return "chatcmpl-" + request_id


def job_id(request_id: str, attempt: int) -> str:
    """Return the arq job id of an attempt: the request's hex digits and the attempt's number."""
    return f"{request_id}-{attempt}"
