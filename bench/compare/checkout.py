"""Run the stack of any commit: its tree in a git worktree, started by its own `python -m bench --serve`.

The two lines that --serve prints are all that is asked of a commit, so its modules may lie where they like.
"""

from __future__ import annotations

import asyncio
import filecmp
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.compare.measure import Target
from bench.stack import StackFailed
from cli.up.child import launch_command
from shared.settings import PROJECT_ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

READY_S: Final = 120.0
STOP_S: Final = 30.0
_LOCK: Final = "requirements/run.lock"
_WHERE: Final = (
    "import api, bench, cli, shared, workers; print(*(m.__file__ for m in (api, bench, cli, shared, workers)))"
)


@dataclass(frozen=True)
class Tree:
    """A commit's files and the interpreter that runs them."""

    name: str
    folder: Path
    python: str


def working_tree() -> Tree:
    """Return the tree that this program runs from, as it is, with changes that are not committed."""
    changes = "+changes" if _git("status", "--porcelain", "--untracked-files=no") else ""
    return Tree(f"{_git('rev-parse', '--short', 'HEAD')}{changes} (this tree)", PROJECT_ROOT, sys.executable)


@contextmanager
def checked_out(revision: str) -> Iterator[Tree]:
    """Check a commit out into a temporary folder that is gone afterwards.

    It has an environment of its own where it asks for other packages than this tree.

    Raises:
        StackFailed: there is no such commit, or its packages cannot be installed.
    """
    name = _git("rev-parse", "--short", "--verify", f"{revision}^{{commit}}")
    with tempfile.TemporaryDirectory(prefix="claw-bench-") as parent:
        # As /proc names it: the temporary folder may be a link.
        folder = Path(parent).resolve() / name
        # Detached: a branch can be checked out in one place only.
        _git("worktree", "add", "--detach", "--quiet", str(folder), name)
        try:
            yield Tree(name, folder, _interpreter(folder))
        finally:
            # git removes no tree with files that it does not track, as what was installed and compiled.
            _git("worktree", "remove", "--force", str(folder))


@asynccontextmanager
async def serving(tree: Tree) -> AsyncIterator[Target]:
    """Start a tree's stack, and make sure that it is that tree which runs.

    Raises:
        StackFailed: it does not come up, or its processes run other files.
    """
    # An editable install or a PYTHONPATH could make both stacks run the same files.
    await _check_imports(tree)
    with tempfile.TemporaryFile() as log:
        process = await asyncio.create_subprocess_exec(
            # SIGTERM: should the bench be killed, it stops its own stack first.
            *launch_command([tree.python, "-m", "bench", "--serve"], signal.SIGTERM, None),
            cwd=tree.folder,
            env=_environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
        try:
            try:
                target = await _announced(tree, process.stdout or asyncio.StreamReader())
            except (StackFailed, TimeoutError) as error:
                log.seek(0)
                raise StackFailed(f"{tree.name}: {error}\n{log.read().decode(errors='replace')[-2000:]}") from error
            yield target
        finally:
            await _stop(process)


def parse_announcement(name: str, where: str, key: str) -> Target:
    """Read the two lines of --serve: `url=... direct=...`, then `key=... api=1 worker=2,3 ...`."""
    urls = dict(word.split("=", 1) for word in where.split())
    keys = dict(word.split("=", 1) for word in key.split())
    groups = {group: [int(pid) for pid in pids.split(",")] for group, pids in keys.items() if group != "key" and pids}
    return Target(name=name, url=urls["url"], direct=urls["direct"], key=keys["key"], groups=groups)


async def _announced(tree: Tree, output: asyncio.StreamReader) -> Target:
    where = ""
    async with asyncio.timeout(READY_S):
        async for line in output:
            text = line.decode().strip()
            if text.startswith("url="):
                where = text
            elif text.startswith("key="):
                target = parse_announcement(tree.name, where, text)
                _check_folders(tree, target)
                return target
    raise StackFailed("python -m bench --serve ended.")


async def _check_imports(tree: Tree) -> None:
    process = await asyncio.create_subprocess_exec(
        tree.python, "-c", _WHERE, cwd=tree.folder, env=_environment(), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    files = output.decode().split()
    if not files or any(not Path(file).is_relative_to(tree.folder) for file in files):
        raise StackFailed(f"{tree.name} would run other files than its own: {' '.join(files)}")


def _check_folders(tree: Tree, target: Target) -> None:
    """Check that every process runs in its tree: `python -m` imports from the working directory first."""
    for pid in (pid for group, pids in target.groups.items() if group != "valkey" for pid in pids):
        if Path(f"/proc/{pid}/cwd").resolve() != tree.folder:
            raise StackFailed(f"process {pid} does not run in {tree.folder}")


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), STOP_S)
        except TimeoutError:
            process.kill()
            await process.wait()


def _interpreter(folder: Path) -> str:
    """Return this interpreter if the tree is locked to the same packages, else one of its own."""
    # The same packages: then only the commit's own files differ.
    if filecmp.cmp(folder / _LOCK, PROJECT_ROOT / _LOCK, shallow=False):
        return sys.executable
    print(f"{folder.name} is locked to other packages: installing them ...", flush=True)
    made = subprocess.run(
        ["make", "--no-print-directory", "install", f"PYTHON={sys.executable}"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        check=False,
    )
    if made.returncode:
        raise StackFailed(f"{folder.name}: make install failed")
    return str(folder / ".venv/bin/python")


def _environment() -> dict[str, str]:
    """Leave out what would lead the import elsewhere, and the gateway's own settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "CLAW_", "PLUGIN_"))}


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StackFailed(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()
