"""Memory of the command line between two runs: the lines that were typed, and which session was the last."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from types import ModuleType

MOST_LINES: Final = 1000
_OWN_FOLDER: Final = "~/.local/state/nself-claw"
_decode: Final = msgspec.json.Decoder(dict[str, str]).decode


class ChatMemory:
    """A folder that only its owner can read: of the gateway's data where that is ours, else of the user's own.

    Whatever of it cannot be read or written is done without.

    Args:
        data_dir: where the gateway's data would be.
    """

    def __init__(self, data_dir: Path) -> None:
        is_ours = data_dir.is_dir() and os.access(data_dir, os.W_OK)
        self._folder = data_dir / "chat" if is_ours else Path(_OWN_FOLDER).expanduser()

    def last_session(self, url: str) -> str | None:
        """Return the id of the session that was last continued at a gateway."""
        return self._sessions().get(url)

    def note_session(self, url: str, session_id: str) -> None:
        """Note which session is continued at a gateway."""
        with suppress(OSError):
            self._write("last_sessions.json", msgspec.json.encode(self._sessions() | {url: session_id}))

    def recall_lines(self, readline: ModuleType) -> None:
        """Give the editor of lines those that were typed before."""
        readline.clear_history()
        readline.set_history_length(MOST_LINES)
        with suppress(OSError):
            readline.read_history_file(self._folder / "typed")

    def keep_lines(self, readline: ModuleType) -> None:
        """Write down the lines that were typed."""
        with suppress(OSError):
            # The editor keeps the mode of a file that is there.
            self._write("typed", b"")
            readline.write_history_file(self._folder / "typed")

    def _sessions(self) -> dict[str, str]:
        try:
            return _decode((self._folder / "last_sessions.json").read_bytes())
        except (OSError, msgspec.DecodeError):
            return {}

    def _write(self, name: str, content: bytes) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._folder / f".{name}"
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        draft.replace(self._folder / name)  # whole or not at all
