"""Runs a process of the gateway that tells, on SIGUSR2, what lives in it.

    python -m tests.chaos.counted FILE MODULE [ARGUMENT ...]

FILE then has a JSON object: how many objects there are of each class of ours, and how many asyncio tasks.
"""

from __future__ import annotations

import gc
import json
import runpy
import signal
import sys
from asyncio import Task
from collections import Counter
from pathlib import Path

OURS = ("api.", "workers.", "shared.")


def living() -> Counter[str]:
    """Return how many objects of each class of ours the garbage collector knows, and how many unfinished tasks."""
    gc.collect()
    found: Counter[str] = Counter()
    for one in gc.get_objects():
        kind = type(one)
        if str(kind.__module__).startswith(OURS):
            found[f"{kind.__module__}.{kind.__qualname__}"] += 1
        elif isinstance(one, Task) and not one.done():
            found["Task"] += 1
    return found


def main() -> None:
    """Answer the signal, and be the module that the command line names."""
    file, module = Path(sys.argv[1]), sys.argv[2]

    def tell(*_: object) -> None:
        draft = file.with_suffix(".draft")
        draft.write_text(json.dumps(living()))
        draft.rename(file)

    signal.signal(signal.SIGUSR2, tell)
    sys.argv = sys.argv[2:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
