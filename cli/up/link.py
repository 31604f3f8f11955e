"""Links this checkout's `nself` into ~/.local/bin, unless another `nself` is there already.

    python -m cli.up.link

Says what it did. Only links that a former checkout of this project left dangling are replaced.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

_OURS = Path(".venv") / "bin" / "nself"


def link_command(command: Path, folder: Path, search_path: str) -> str:
    """Link `command` into `folder` if that hides and replaces nothing; what was done, in a sentence.

    Args:
        command: our `nself`, absolute.
        folder: where links to commands belong.
        search_path: the value of PATH.
    """
    link = folder / command.name
    if link.is_symlink() and link.readlink() == command:
        return _reached(f"nself is linked into {folder}.", folder, search_path)
    other = shutil.which(command.name, path=_without(search_path, command.parent))
    if other is not None:
        return f"Another nself is at {other}: it was left alone, this one is {command}"
    # Dangling, and by its path a link of this project: nothing is lost.
    if link.is_symlink() and not link.exists() and link.readlink().parts[-3:] == _OURS.parts:
        link.unlink()
    if link.is_symlink() or link.exists():
        return f"Another nself is at {link}: it was left alone, this one is {command}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        link.symlink_to(command)
    except OSError as error:
        return f"nself could not be linked into {folder} ({error.strerror}); it is {command}"
    return _reached(f"nself has been linked into {folder}.", folder, search_path)


def _without(search_path: str, folder: Path) -> str:
    """Leave out an activated environment of ours: it is no other nself."""
    return os.pathsep.join(part for part in search_path.split(os.pathsep) if Path(part) != folder)


def _reached(text: str, folder: Path, search_path: str) -> str:
    if any(Path(part) == folder for part in search_path.split(os.pathsep)):
        return text
    return f"{text} That is not on your PATH: add it, or call {folder / 'nself'}"


def main() -> None:
    """Link the `nself` that stands beside the running interpreter."""
    command = Path(sys.executable).with_name("nself")
    print(link_command(command, Path.home() / ".local" / "bin", os.environ.get("PATH", "")))


if __name__ == "__main__":
    main()
