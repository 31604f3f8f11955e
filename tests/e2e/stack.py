"""A whole gateway, started as a newcomer does, and its command line."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from cli.up.child import launch_command
from cli.up.ports import free_port
from tests.fleet import PATIENCE_S
from tests.integration.cli.up.up_stack import descendants, remove_postgres_homes, running

START_BOUND_S = 250.0
STOP_BOUND_S = 120.0
PLENTY_RPM = 1_000_000
_OURS = re.compile(
    r"CLAW_|NSELF_|PLUGIN_|OLLAMA_|OPENAI_|ANTHROPIC_|GEMINI_|(DATABASE|REDIS)_URL$|[a-z]+_proxy$",
    re.IGNORECASE,
)
_NSELF = Path(sys.executable).with_name("nself")


@dataclass(frozen=True)
class Key:
    """A gateway key."""

    id: str
    secret: str


class Stack:
    """One `nself claw up`.

    Args:
        folder: where it may keep its data and we its output.
        configured: environment variables that a user would have set.
    """

    def __init__(self, folder: Path, **configured: str) -> None:
        self._folder = folder
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not _OURS.match(name)},
            **configured,
            "CLAW_DATA_DIR": str(folder / "data"),
            "CLAW_OLLAMA_DETECT": "false",  # a developer may have one
            "CLAW_PORT": str(self._port),
        }

    @property
    def port(self) -> int:
        """Return where it listens on 127.0.0.1."""
        return self._port

    @property
    def shown(self) -> str:
        """Return what it has printed so far."""
        return (self._folder / "shown").read_text()

    @property
    def base_url(self) -> str:
        """Return the base URL that it tells its user."""
        return re.findall(r"^Base URL: (\S+)$", self.shown, re.MULTILINE)[0]  # type: ignore[no-any-return]  # re says Any

    @property
    def first_key(self) -> str:
        """Return the API key that it shows."""
        return re.findall(r"^API key: (\S+)$", self.shown, re.MULTILINE)[0]  # type: ignore[no-any-return]  # re says Any

    def __enter__(self) -> Self:
        with (self._folder / "shown").open("wb") as output:
            self._process = subprocess.Popen(
                # A run of tests that is killed takes it along.
                launch_command((str(_NSELF), "claw", "up"), signal.SIGTERM, None),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env=self._environment,
            )
        deadline = time.monotonic() + START_BOUND_S
        try:
            while "Ctrl-C stops everything." not in self.shown:
                assert self._process.poll() is None, self.shown
                assert time.monotonic() < deadline, self.shown
                time.sleep(0.05)
        except BaseException:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(STOP_BOUND_S)
            raise
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Stop it as Ctrl-C does: it must end well and leave nothing behind."""
        children = descendants(self._process.pid)
        self._process.send_signal(signal.SIGINT)
        code = self._process.wait(STOP_BOUND_S)
        remove_postgres_homes(self._folder / "data")
        assert children, "it ran nothing"
        assert not running(children), "children outlived it"
        assert code == 0, self.shown
        assert self.shown.endswith("Stopping ...\nStopped.\n"), self.shown

    def refused(self, **configured: str) -> str:
        """Return what a start prints that ends by itself, because of a setting."""
        done = subprocess.run(
            [_NSELF, "claw", "up"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=self._folder,
            env=self._environment | configured,
        )
        assert done.returncode != 0, done
        return done.stdout + done.stderr

    def kill(self) -> None:
        """Kill the supervisor, so that it can stop nothing itself, and wait for what it started."""
        children = descendants(self._process.pid)
        self._process.kill()
        self._process.wait(STOP_BOUND_S)
        deadline = time.monotonic() + STOP_BOUND_S
        while running(children):
            assert time.monotonic() < deadline, running(children)
            time.sleep(0.05)

    def typed(self, *arguments: str, columns: int = 80) -> tuple[int, str]:
        """Type a command on a terminal: its exit code, and what that shows."""
        ours, theirs = pty.openpty()
        environment = self._environment | {"COLUMNS": str(columns), "TERM": "dumb"}
        with subprocess.Popen(
            [_NSELF, *arguments], stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=environment
        ) as process:
            os.close(theirs)
            shown = b""
            try:
                while piece := os.read(ours, 4096):
                    shown += piece
            except OSError:  # Linux says so at the end of a terminal
                pass
        os.close(ours)
        return process.returncode, shown.decode().replace("\r\n", "\n")

    def nself(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command line beside the running stack, as its user does."""
        return subprocess.run(
            [_NSELF, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=self._folder,
            env=self._environment,
        )

    def said(self, *arguments: str) -> str:
        """Return what a command prints; it must succeed and say nothing on stderr."""
        done = self.nself(*arguments)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    def new_key(self, name: str = "test", rpm: int = PLENTY_RPM) -> Key:
        """Return a key made by the command line. Two of one name within ten seconds would be the same."""
        unique = f"{name} {uuid4().hex}"
        made = self.json_of("claw", "api", "keys", "create", "--name", unique, "--rpm", str(rpm))
        return Key(made["id"], made["key"])

    def usage(self, key: str, count: int) -> list[dict[str, Any]]:
        """Return the usage log of a key, oldest first, once it has so many rows: nobody waits long for its recorder."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            listed: list[dict[str, Any]] = self.json_of("claw", "api", "usage", "--key", key)["usage"]
            if len(listed) >= count:
                return listed[::-1]
            assert time.monotonic() < deadline, listed

    def json_of(self, *arguments: str) -> Any:
        """Return what a command prints with --json."""
        return json.loads(self.said(*arguments, "--json"))

    def environment(self) -> dict[str, str]:
        """Return what `nself claw env` prints for a shell."""
        words = shlex.split(self.said("claw", "env").replace("export ", ""))
        return dict(word.split("=", 1) for word in words)
