"""Starts the gateway's own processes as forks of this one, which has imported what they share.

    python -m cli.up.fork_server CONTROL

Alone each of them takes 45 MiB and most of a second of CPU to start; nearly all of both is the same imported code. This
process imports it and runs none of it: one thread, no loop, no connection, and an environment without credentials.
CONTROL is a socket (SOCK_SEQPACKET) on which `ForkServer` sends, for each process, three file descriptors:

- the order, JSON. Only the fork reads it: the environment in it must not stay in this process, and so in later forks;
- its output, stdout and stderr;
- a pipe for its status, two lines: the fork writes its process id, this process its exit code.
"""

from __future__ import annotations

import gc
import importlib
import os
import runpy
import select
import signal
import socket
import sys
from contextlib import suppress
from typing import Final

import msgspec
from setproctitle import setproctitle

from cli.up.launch import die_with_parent

MODULES: Final = ("api", "workers")


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Run `python -m` of `module` with these arguments, in this folder, with this environment and no other."""

    module: str
    arguments: tuple[str, ...]
    directory: str
    environment: dict[str, str]
    death_signal: int


def serve(control: socket.socket) -> Order:
    """Fork for each order until `control` ends, which ends this process; return the order, in the fork."""
    woken, waker = os.pipe()
    for end in (woken, waker):
        os.set_blocking(end, False)  # `set_wakeup_fd` takes no other
    # Something must handle the signal, or it wakes nobody.
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker)
    statuses: dict[int, int] = {}
    while True:
        readable, _, _ = select.select([control.fileno(), woken], [], [])
        if woken in readable:
            os.read(woken, 4096)
            _report_exits(statuses)
        if control.fileno() in readable:
            message, received, _, _ = socket.recv_fds(control, 1, 3)
            if not message:
                sys.exit()
            order, output, status = received
            pid = os.fork()
            if pid == 0:
                # Else signals would be written to whatever gets the number of `waker` next.
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                control.close()
                # Held open here too, nobody would notice the end of another process by its pipe.
                for descriptor in (woken, waker, *statuses.values()):
                    os.close(descriptor)
                return _begin(order, output, status)
            statuses[pid] = status
            os.close(order)
            os.close(output)


def _report_exits(statuses: dict[int, int]) -> None:
    # Signals of a kind that come close together are one: all that have ended are asked for.
    while statuses:
        pid, ended = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        status = statuses.pop(pid)
        _write_line(status, os.waitstatus_to_exitcode(ended))
        os.close(status)


def _begin(order_file: int, output: int, status: int) -> Order:
    server = os.getppid()
    os.setsid()  # `Child` ends the whole session
    for standard in (1, 2):
        os.dup2(output, standard)
    os.close(output)
    with os.fdopen(order_file, "rb") as file:
        order = msgspec.json.decode(file.read(), type=Order)
    die_with_parent(order.death_signal, server)
    # Only now: who knows the id may send a signal to the whole session.
    _write_line(status, os.getpid())
    os.close(status)
    return order


def _write_line(descriptor: int, number: int) -> None:
    with suppress(BrokenPipeError):  # nobody waits for it any more
        os.write(descriptor, b"%d\n" % number)


def run(order: Order) -> None:
    """Run what was ordered, in place of this program."""
    # Before the environment is changed: the title takes the place of the one at the start.
    setproctitle(" ".join((sys.executable, "-m", order.module, *order.arguments)))
    os.environ.clear()
    os.environ.update(order.environment)
    os.chdir(order.directory)
    sys.argv = [order.module, *order.arguments]
    # It was only imported; now it runs, with all that it imports at hand.
    sys.modules.pop(f"{order.module}.__main__", None)
    runpy.run_module(order.module, run_name="__main__", alter_sys=True)


def main(control: int) -> None:
    """Serve until the socket `control` ends; in a fork, run what was ordered."""
    for module in MODULES:
        importlib.import_module(f"{module}.__main__")
    # What was imported is never garbage: a collector that looks at it in a fork would copy its pages.
    gc.collect()
    gc.freeze()
    run(serve(socket.socket(fileno=control)))


if __name__ == "__main__":
    main(int(sys.argv[1]))
