"""How much knowledge a prompt has room for."""

from __future__ import annotations

import pytest

from api.prompt.knowledge.room import knowledge_room


@pytest.mark.parametrize(
    ("contexts", "prompt", "answer", "room"),
    [
        ([], 100_000, None, None),
        ([2_048], 10, None, 1_423),
        ([2_048], 10, 48, 1_590),
        ([2_048], 10, 5_000, 1_423),
        ([128_000, 2_048], 10, None, 1_423),
        ([128_000, 2_048], 3_000, None, 98_580),
        ([2_048], 2_000, None, 0),
        ([2_048], 3_000, None, 0),
    ],
)
def test_it_fits_into_each_model_that_the_prompt_fits_into(
    contexts: list[int], prompt: int, answer: int | None, room: int | None
) -> None:
    """With an answer as long as was asked for, but an eighth of the context at the most; and what was said before."""
    assert knowledge_room(contexts, prompt, answer) == room
    assert knowledge_room(contexts, prompt, answer, 100) == (room and room - 100)
    assert knowledge_room(contexts, prompt, answer, 1_000_000) == (room and room - room // 2)
