"""A worker of the tests: notes when it stops, and reaches Valkey while it does."""

import os
import signal
import socket
import sys
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit


def note(text: str) -> None:
    """Append a line to the file that the test reads."""
    with Path("stops").open("a") as file:
        file.write(f"{text}\n")


def end(*_: object) -> None:
    """Stop, slowly enough that a wrong order shows."""
    note(f"{sys.argv[1]} begins to stop")
    time.sleep(0.2)
    with socket.socket(socket.AF_UNIX) as valkey:
        valkey.connect(unquote(urlsplit(os.environ["REDIS_URL"]).path))
    note(f"{sys.argv[1]} has stopped")
    sys.exit(0)


signal.signal(signal.SIGTERM, end)
print("2026-11-23T03:12:00.123Z INFO script not shown", flush=True)  # noqa: T201 -- a script
print("2026-11-23T03:12:00.123Z INFO metrics at", os.environ.get("CLAW_METRICS_PORT"), flush=True)  # noqa: T201 -- a script
print("2026-11-23T03:12:00.123Z WARNING script shown", flush=True)  # noqa: T201 -- a script
while True:
    signal.pause()
