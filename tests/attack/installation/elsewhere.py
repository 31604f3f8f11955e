"""Runs a process of the gateway as it would run on another machine, or sooner.

    python -m tests.attack.installation.elsewhere CHANGES MODULE [ARGUMENT ...]

CHANGES is a JSON object: `machine_id` names a file with the machine's id, `ahead_s` says how far its clock is ahead,
and `first_look_s` when a recorder drops what is too old for the first time.
"""

from __future__ import annotations

import json
import runpy
import sys
import time
from pathlib import Path

from workers.providers.http import address
from workers.recording import retention


def main() -> None:
    """Run the module that the command line names."""
    changes = json.loads(sys.argv[1])
    if "machine_id" in changes:
        setattr(address, "_MACHINE_IDS", (Path(changes["machine_id"]),))  # noqa: B010 -- final for everybody else
    if "first_look_s" in changes:
        setattr(retention, "FIRST_LOOK_S", changes["first_look_s"])  # noqa: B010 -- final for everybody else
    if ahead_s := changes.get("ahead_s", 0):
        now = time.time
        time.time = lambda: now() + ahead_s
    sys.argv = sys.argv[2:]
    sys.modules.pop(f"{sys.argv[0]}.__main__", None)  # a fork of the tests has it imported
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
