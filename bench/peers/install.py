"""Install other gateways at pinned versions, each into a folder of its own, outside the repository.

The folder is `nself-claw-bench` in $XDG_CACHE_HOME or ~/.cache; a gateway is installed once for each pin. Packages come
from wherever pip and npm are set up to fetch them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from bench.stack import StackFailed

SMG: Final = "smg==1.13.0"
LITELLM: Final = "litellm[proxy]==1.106.12"
"""The newest whose proxy's own packages could all be had when it was pinned."""
PORTKEY: Final = {
    "private": True,
    "dependencies": {"@portkey-ai/gateway": "1.15.2"},
    # With any newer one every stream of 1.15.2 is answered with a 500.
    "overrides": {"@hono/node-server": "1.14.1"},
}
_DONE: Final = "installed"


def install_python(requirement: str) -> Path:
    """Install a package into a virtual environment of its own; the folder of its programs.

    Raises:
        StackFailed: pip fails.
    """
    folder, done = _folder(requirement.partition("=")[0].partition("[")[0], requirement)
    if not done:
        _run(folder, sys.executable, "-m", "venv", str(folder))
        _run(folder, str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--no-input", requirement)
        # Last: an installation that broke off is begun anew.
        (folder / _DONE).touch()
    return folder / "bin"


def install_portkey() -> Path:
    """Install Portkey's gateway; the script that starts it.

    Raises:
        StackFailed: npm fails.
    """
    package = json.dumps(PORTKEY, indent=1)
    folder, done = _folder("portkey", package)
    if not done:
        (folder / "package.json").write_text(package)
        _run(folder, "npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
        (folder / _DONE).touch()
    return folder / "node_modules/@portkey-ai/gateway/build/start-server.js"


def _folder(name: str, pin: str) -> tuple[Path, bool]:
    """Return the folder for this pin, and if it is complete; what an installation that broke off left is removed."""
    # The interpreter too: a virtual environment of another one does not run.
    pinned = hashlib.sha256(f"{sys.version} {pin}".encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "nself-claw-bench" / f"{name}-{pinned}"
    done = (folder / _DONE).exists()
    if not done:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        print(f"Installing {name} into {folder} ...", flush=True)
    return folder, done


def _run(folder: Path, *command: str) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except OSError as error:
        raise StackFailed(f"{command[0]} cannot be run: {error}") from error
    if done.returncode:
        raise StackFailed(f"{' '.join(command)}:\n{done.stderr[-2000:]}")
