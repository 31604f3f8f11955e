"""Files that the paths of a command line mean."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.knowledge.convert import CONVERTERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def found_files(paths: Iterable[str]) -> list[Path]:
    """Return the files that paths name, each once; those of folders by what we can read, without hidden ones and links.

    Raises:
        ClickException: a file that is named cannot be read by us.
    """
    found: dict[Path, None] = {}
    for name in paths:
        path = Path(name).resolve()
        if path.is_dir():
            found.update(dict.fromkeys(_inside(path)))
        elif path.suffix.lower() in CONVERTERS:
            found[path] = None
        else:
            known = ", ".join(CONVERTERS)
            raise click.ClickException(f"{name} is none of the kinds that can be read: {known}.")
    return list(found)


def _inside(folder: Path) -> Iterator[Path]:
    # Without links: they lead out of the folder, or in circles.
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for name in sorted(names):
            path = Path(where, name)
            if path.suffix.lower() in CONVERTERS and not name.startswith(".") and not path.is_symlink():
                yield path
