"""How much of a stored session a request reads."""

from __future__ import annotations

import json
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.prompt.sessions.sessions import SessionRequest, _matched, readable, with_pending
from shared.openai.sessions.history import INSTRUCTIONS
from shared.openai.sessions.merge import Known
from shared.openai.sessions.turn import PendingTurn, TurnHead
from shared.postgres.sessions import StoredMessage
from shared.process.json_values import MOST_VALUES
from shared.usage import UsageRecord

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


def known(role: str, text: str, request: int, place: int) -> Known:
    """Return a message that is stored."""
    return Known.of(json.dumps({"role": role, "content": text}).encode(), place=(f"{request:032x}", place))


def ended(request: int, after: tuple[int, int] | None) -> PendingTurn:
    """Return a turn that was closed and is not stored yet."""
    question, answer = ({"role": role, "content": f"{role} {request}"} for role in ("user", "assistant"))
    head = TurnHead(
        after=None if after is None else (f"{after[0]:032x}", after[1]),
        messages=(msgspec.Raw(msgspec.json.encode(question)),),
        digests=("00" * 16,),
    )
    record = UsageRecord(request_id=f"{request:032x}", key_id=None, endpoint="chat", requested_model="", admitted_ms=0)
    return PendingTurn(head=head, state="complete", record=record, answer=msgspec.Raw(msgspec.json.encode(answer)))


def test_what_ended_after_its_session_was_deleted_is_no_history() -> None:
    """And what comes next begins the session anew: the recorder would drop it else."""
    raw = msgspec.json.encode(ended(3, None))
    body = b'{"messages":[{"role":"user","content":"new"}]}'
    asked = SessionRequest(
        session_id=str(UUID(int=1)), request_id="4", key_id=None, is_admin_mode=False, body=body, wait_s=0
    )
    merged, head, _ = _matched(asked, None, [], [raw])
    assert (merged.turns, head.begins, len(head.messages)) == ((), True, 1)
    begun = msgspec.structs.replace(ended(3, None), head=msgspec.structs.replace(ended(3, None).head, begins=True))
    merged, head, _ = _matched(asked, None, [], [msgspec.json.encode(begun)])
    assert (len(merged.turns), head.begins) == (1, False)


@pytest.mark.parametrize(
    ("after", "left"), [(None, 4), ((2, 1), 4), ((2, 0), 3), ((2, -1), 2), ((1, 1), 2), ((1, 0), 1), ((1, -1), 0)]
)
def test_a_turn_that_is_not_stored_yet_stands_in_place_of_what_it_supersedes(
    after: tuple[int, int] | None, left: int
) -> None:
    """As it will once it is stored; -1 is the place before the first message of a request."""
    before = [
        known(role, "text", request, place) for request in (1, 2) for place, role in enumerate(("user", "assistant"))
    ]
    found = with_pending(before, [ended(3, after)])
    assert found[:left] == before[:left]
    assert [each.message["content"] for each in found[left:]] == ["user 3", "assistant 3"]
