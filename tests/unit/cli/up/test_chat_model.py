"""How many threads the embedded model computes with."""

import pytest

from cli.up.embedded.chat_model import threads_for


@pytest.mark.parametrize(("cpus", "threads"), [(1, 1), (2, 1), (3, 1), (4, 2), (8, 4), (64, 4)])
def test_the_model_leaves_half_of_the_cpus_to_others(cpus: int, threads: int) -> None:
    """Threads that wait for each other collapse together when one of them is not scheduled."""
    assert threads_for(cpus) == threads
