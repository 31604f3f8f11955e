"""What another commit's stack says of itself, and which files it would run."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.compare.checkout import Tree, parse_announcement, serving, working_tree
from bench.stack import StackFailed


def test_the_two_lines_of_serve_name_addresses_key_and_processes() -> None:
    """A group may have several processes, or none; the key is none."""
    target = parse_announcement(
        "old", "url=http://a/v1 direct=http://b/v1", "key=k api=1 worker=2,3 recorder= valkey=4"
    )
    assert (target.url, target.direct, target.key) == ("http://a/v1", "http://b/v1", "k")
    assert target.groups == {"api": [1], "worker": [2, 3], "valkey": [4]}


async def test_a_tree_that_would_run_other_files_than_its_own_is_not_started(tmp_path: Path) -> None:
    """In an empty folder this project's installed packages would be found instead."""
    tree = Tree("empty", tmp_path, working_tree().python)
    with pytest.raises(StackFailed, match="empty would run other files than its own"):
        async with serving(tree):
            pass
