"""Peers are installed once for each pin, in a folder of their own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bench.peers import install
from bench.stack import StackFailed


class Programs:
    """Stands for pip and npm: notes where it ran what, and fails while it is told to."""

    def __init__(self) -> None:
        self.commands: list[tuple[str, ...]] = []
        self.exit_code = 0

    def run(self, command: tuple[str, ...], **_: Any) -> subprocess.CompletedProcess[str]:
        """Do as subprocess.run does."""
        self.commands.append(command)
        return subprocess.CompletedProcess(command, self.exit_code, "", "no such version")


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Programs:
    """Return programs: nothing is really installed, and the cache is empty."""
    found = Programs()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("bench.peers.install.subprocess.run", found.run)
    return found


def test_what_is_installed_is_not_installed_again(programs: Programs) -> None:
    """The second time nothing is run; the folder is outside the repository."""
    first = install.install_python("smg==1.0")
    count = len(programs.commands)
    assert install.install_python("smg==1.0") == first
    assert len(programs.commands) == count > 0
    assert not first.is_relative_to(Path(install.__file__).parents[2])


def test_another_pin_has_another_folder(programs: Programs) -> None:
    """So that an old version is never measured under a new name."""
    assert install.install_python("smg==1.0") != install.install_python("smg==1.1")
    assert "smg==1.1" in programs.commands[-1]


def test_an_installation_that_failed_is_tried_anew(programs: Programs) -> None:
    """What it left behind is not taken for a whole one."""
    programs.exit_code = 1
    with pytest.raises(StackFailed, match="no such version"):
        install.install_portkey()
    programs.exit_code = 0
    script = install.install_portkey()
    package = json.loads((script.parents[4] / "package.json").read_text())
    assert package["overrides"] == {"@hono/node-server": "1.14.1"}
    assert len(programs.commands) == 2
