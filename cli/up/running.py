"""The state of a running `up`: the lock of its data dir, and where its servers are."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class AlreadyRuns(Exception):
    """Another `up` holds the data dir; the text names its process."""


class RunNote(msgspec.Struct, frozen=True):
    """The contents of `run.json` in the data dir; it holds passwords."""

    pid: int
    claw_url: str
    redis_url: str
    database_url: str
    internal_secret: str = ""


@contextmanager
def exclusive(data_dir: Path) -> Iterator[None]:
    """Lock the data dir; the kernel releases the lock however this process ends.

    Raises:
        AlreadyRuns: another process holds it.
    """
    # A lock on a file, not the file itself: it goes with its process, and a crash leaves nothing to clear away.
    descriptor = os.open(data_dir / "up.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            raise AlreadyRuns(f"The gateway already runs on {data_dir} (process {holder}).") from None
        # The number is for people only; the lock is what counts.
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


def write_note(data_dir: Path, note: RunNote) -> None:
    """Write `run.json`, readable by its owner alone."""
    draft = data_dir / ".run.json"
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(note))
    # Whole or not at all: other commands read it at any time.
    draft.replace(data_dir / "run.json")


def remove_note(data_dir: Path) -> None:
    """Remove `run.json` if it is there."""
    (data_dir / "run.json").unlink(missing_ok=True)


def read_note(data_dir: Path) -> RunNote | None:
    """Return the note of the `up` that runs on the data dir now; none if none does."""
    try:
        note = msgspec.json.decode((data_dir / "run.json").read_bytes(), type=RunNote)
        return note if _is_held(data_dir) else None
    except (OSError, msgspec.DecodeError):
        return None


def _is_held(data_dir: Path) -> bool:
    descriptor = os.open(data_dir / "up.lock", os.O_RDONLY | os.O_CLOEXEC)
    try:
        # Shared: two commands that look at the same time must not take each other for an `up`.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)
