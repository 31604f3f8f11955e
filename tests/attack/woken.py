"""Runs a worker that looks for jobs when it is woken, and at no other time.

    python -m tests.attack.woken MODULE [ARGUMENT ...]

What fifty idle workers look for every few seconds depends on how long a test takes; what a job makes them do does not.
"""

from __future__ import annotations

import runpy
import sys

from shared.queue import arq_queue

NEVER_S = 3600.0


def main() -> None:
    """Run the module that the command line names, without its safety net."""
    setattr(arq_queue, "POLL_S", NEVER_S)  # noqa: B010 -- it is final for everybody else
    sys.argv = sys.argv[1:]
    sys.modules.pop(f"{sys.argv[0]}.__main__", None)  # a fork of the tests has it imported
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
