"""A name server of the test's own, and processes that ask it alone.

    python -m tests.attack.own_names RESOLV_CONF MODULE [ARGUMENT ...]

runs a process of the gateway that finds names as RESOLV_CONF says: a mount of its own stands in the place of the
system's file. That takes root.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import runpy
import sys
from typing import Any, Final

NO_SUCH_NAME: Final = 3
_ADDRESS: Final = 1
_NEW_MOUNTS: Final = 0x00020000
_BIND, _PRIVATE = 0x1000, 0x40000 | 0x4000


class SlowNames(asyncio.DatagramProtocol):
    """Answers no question for a name that begins with `slow` before it is let go; all others are this machine.

    Attributes:
        held: the questions that wait.
        asked: the names that were asked for.
    """

    def __init__(self) -> None:
        self.held: list[tuple[bytes, Any]] = []
        self.asked: list[str] = []
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket."""
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Answer a question, or hold it."""
        self.asked.append(_name(data))
        if self.asked[-1].startswith("slow"):
            self.held.append((data, addr))
        else:
            self._transport.sendto(_answer(data), addr)

    def let_go(self) -> None:
        """Answer what is held: there are no such names."""
        held, self.held = self.held, []
        for data, addr in held:
            self._transport.sendto(_answer(data, NO_SUCH_NAME), addr)


def _name(question: bytes) -> str:
    labels, at = [], 12
    while size := question[at]:
        labels.append(question[at + 1 : at + 1 + size].decode())
        at += 1 + size
    return ".".join(labels)


def _answer(question: bytes, code: int = 0) -> bytes:
    end = question.index(b"\0", 12) + 5
    has_address = not code and int.from_bytes(question[end - 4 : end - 2]) == _ADDRESS
    head = question[:2] + bytes([0x81, 0x80 | code, 0, 1, 0, has_address, 0, 0, 0, 0])
    record = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4\x7f\0\0\1" if has_address else b""
    return head + question[12:end] + record


def main() -> None:
    """Run the module that the command line names, among names of its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    file = sys.argv[1].encode()
    for failed in (
        libc.unshare(_NEW_MOUNTS),
        libc.mount(b"none", b"/", None, _PRIVATE, None),
        libc.mount(file, os.path.realpath(b"/etc/resolv.conf"), None, _BIND, None),
    ):
        if failed:
            raise OSError(ctypes.get_errno(), "the mount of its own cannot be made")
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
