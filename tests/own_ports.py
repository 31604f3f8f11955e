"""Ports of each process of the tests: workers of pytest-xdist take them from parts that do not overlap.

A server listens some time after its port was chosen, a whole gateway many seconds; each process chooses one after the
other from a random place, so that another worker's could come by meanwhile and take it.
"""

from __future__ import annotations

import itertools
import os
import random

from cli.up import ports


def keep_ports_apart() -> None:
    """Begin with the part of this worker; where there is one process only, at a random place as always."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    if worker:
        first = first_place(
            int(worker), int(os.environ["PYTEST_XDIST_WORKER_COUNT"]), os.environ["PYTEST_XDIST_TESTRUNUID"]
        )
        setattr(ports, "_places", itertools.count(first))  # noqa: B010 -- final for everybody else


def first_place(worker: int, workers: int, run: str) -> int:
    """Return where a worker begins; those of another run begin elsewhere."""
    places = len(ports._FIXED)
    return random.Random(run).randrange(places) + worker * places // workers
