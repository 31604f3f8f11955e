"""The first install shows how far it is, on a terminal, while it happens: something moves even while pip is silent."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import shutil
from typing import TYPE_CHECKING

from shared.settings import PROJECT_ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Eventually

_PIP = """\
#!/bin/sh
case "$*" in
*--requirement*)
    echo "Collecting one==1"
    read -r line <"{first}"
    echo "Collecting two==2 (from somewhere)"
    echo "Installing collected packages: one, two"
    read -r line <"{second}"
    ;;
esac
"""


async def test_a_terminal_shows_each_package_as_it_comes(tmp_path: Path, eventually: Eventually) -> None:
    """With a pip that stops in the middle until the test has seen what it has done so far."""
    (tmp_path / "requirements").mkdir()
    shutil.copy(PROJECT_ROOT / "requirements" / "install.sh", tmp_path / "requirements")
    (tmp_path / "requirements" / "run.lock").write_text("one==1\ntwo==2\n")
    # Two: of one that its writer has not closed yet, the next reader would read the end.
    first, second = tmp_path / "first", tmp_path / "second"
    os.mkfifo(first)
    os.mkfifo(second)
    pip = tmp_path / ".venv" / "bin" / "python"
    pip.parent.mkdir(parents=True)
    pip.write_text(_PIP.format(first=first, second=second))
    pip.chmod(0o700)
    shown = ""

    def read() -> None:
        nonlocal shown
        shown += os.read(ours, 4096).decode()

    ours, theirs = pty.openpty()
    asyncio.get_running_loop().add_reader(ours, read)
    try:
        process = await asyncio.create_subprocess_exec(
            tmp_path / "requirements" / "install.sh", "run", stdout=theirs, stderr=theirs
        )
        await eventually(lambda: len(set(re.findall(r"1/2 one \.\.\. \d+ s", shown))) >= 2)
        await asyncio.to_thread(first.write_text, "on\n")
        await eventually(lambda: "unpacking ... " in shown)
        await asyncio.to_thread(second.write_text, "on\n")
        assert await process.wait() == 0
        await eventually(lambda: "Installed." in shown)
    finally:
        asyncio.get_running_loop().remove_reader(ours)
        os.close(ours)
        os.close(theirs)
    assert (tmp_path / ".venv" / "install.log").read_text().endswith("install: done\n")
