"""How much of a stored session a request reads."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from api.prompt.sessions.sessions import readable
from shared.openai.sessions.history import INSTRUCTIONS
from shared.postgres.sessions import StoredMessage
from shared.process.json_values import MOST_VALUES

ROLES = st.sampled_from(["system", "developer", "user", "assistant"])


def stored(requests: list[list[tuple[str, int]]]) -> list[StoredMessage]:
    """Messages of requests, each with its role and about how many tenths of `MOST_VALUES` it has."""
    return [
        StoredMessage(
            request_id=UUID(int=number),
            position=100 * number + place,
            place=place,
            role=role,
            message="[" * (tenths * MOST_VALUES // 10),
            digest=b"",
            state="complete",
        )
        for number, brought in enumerate(requests)
        for place, (role, tenths) in enumerate(brought)
    ]


@given(st.lists(st.lists(st.tuples(ROLES, st.integers(0, 4)), min_size=1, max_size=2), max_size=8))
def test_no_history_has_many_more_values_than_a_body_may_have(requests: list[list[tuple[str, int]]]) -> None:
    """The newest are read, after the instructions that one older request began with."""
    rows = stored(requests)
    sizes = [len(row.message) for row in rows]
    count = max(count for count in range(len(rows) + 1) if sum(sizes[len(rows) - count :]) <= MOST_VALUES)
    left_out, newest = rows[: len(rows) - count], rows[len(rows) - count :]
    found = readable(rows)
    assert found[len(found) - count :] == newest
    told = found[: len(found) - count]
    began = [row.request_id for row in left_out if row.role in INSTRUCTIONS and row.place == 0]
    assert {row.request_id for row in told} == set(began[-1:])
    assert all(row.role in INSTRUCTIONS for row in told)
