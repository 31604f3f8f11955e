"""Where a request goes next, and when: the policy alone."""

from __future__ import annotations

import pytest

from api.requests.failover import EXTRA_ACCOUNTS, EXTRA_ATTEMPTS, LONGEST_RECHECK_S, Failover, acceptable_now
from api.routing.live_backends import CLOSED
from shared.errors import Draining, GatewayError, InvalidRequest, Rejected, Unavailable, WorkerLost
from shared.queue.placement import MOST_ATTEMPTS, Candidate
from shared.types import Target, Tier

WAIT_S = 3.0


def at(queue: str, tier: Tier = "local", most_wait_ms: int = 0, rank: int = 0) -> Candidate:
    """Return a candidate of a queue."""
    return Candidate(target=Target(tier, queue, "m"), most_wait_ms=most_wait_ms, rank=rank)


LOCAL, OTHER, PAID = at("local"), at("other"), at("paid", "paid")
BOUNDED = at("local", most_wait_ms=5000)
"""`auto` has each local backend twice: within a bound on the wait, and as the last resort without."""


def policy(*candidates: Candidate) -> Failover:
    """Return a policy whose first attempt is at the first candidate."""
    found = Failover(candidates, local_max_wait_s=WAIT_S)
    found.placed(candidates[0].target)
    return found


def test_the_others_are_tried_after_a_failure() -> None:
    """Each once, in what order the router says."""
    failover = policy(LOCAL, OTHER, PAID)
    assert failover.failed(Unavailable("away"), LOCAL.target, 1) == [OTHER, PAID]
    failover.placed(PAID.target)
    assert failover.failed(Unavailable("away"), PAID.target, 2) == [OTHER]
    failover.placed(OTHER.target)
    assert failover.failed(Unavailable("away"), OTHER.target, 3) == []


def test_what_another_model_would_refuse_too_is_not_tried_again() -> None:
    """The caller has to change something."""
    assert policy(LOCAL, PAID).failed(InvalidRequest("no"), LOCAL.target, 1) == []


@pytest.mark.parametrize("error", [WorkerLost("gone"), Draining("going")])
def test_a_target_whose_worker_went_away_is_tried_again_a_few_times(error: GatewayError) -> None:
    """Another worker may serve it."""
    failover = policy(LOCAL)
    for attempt in range(1, EXTRA_ATTEMPTS + 1):
        assert failover.failed(error, LOCAL.target, attempt) == [LOCAL]
        failover.placed(LOCAL.target)
    assert failover.failed(error, LOCAL.target, EXTRA_ATTEMPTS + 1) == []


def test_a_target_with_other_accounts_is_tried_again_a_few_times() -> None:
    """Where the error says that there are others."""
    error = Rejected("no credential")
    error.retry_here = True
    failover = policy(LOCAL)
    for attempt in range(1, EXTRA_ACCOUNTS + 1):
        assert failover.failed(error, LOCAL.target, attempt) == [LOCAL]
        failover.placed(LOCAL.target)
    assert failover.failed(error, LOCAL.target, EXTRA_ACCOUNTS + 1) == []


def test_a_request_has_a_bounded_number_of_attempts() -> None:
    """Whatever is left."""
    assert policy(LOCAL, PAID).failed(Unavailable("away"), LOCAL.target, MOST_ATTEMPTS - 1) == [PAID]
    assert policy(LOCAL, PAID).failed(Unavailable("away"), LOCAL.target, MOST_ATTEMPTS) == []


def test_the_backend_that_had_it_is_the_one_that_failed() -> None:
    """Another took it over while it waited: the one where it was put may still serve it."""
    assert policy(LOCAL, OTHER, PAID).failed(Unavailable("away"), OTHER.target, 1) == [PAID, LOCAL]


def test_a_local_job_is_checked_again_only_where_it_could_move() -> None:
    """To another tier, or to a place with a bounded wait."""
    assert Failover([LOCAL, PAID], local_max_wait_s=WAIT_S).placed(LOCAL.target) == WAIT_S
    assert Failover([LOCAL, OTHER], local_max_wait_s=WAIT_S).placed(LOCAL.target) is None
    assert Failover([LOCAL, at("other", most_wait_ms=1)], local_max_wait_s=WAIT_S).placed(LOCAL.target) == WAIT_S
    assert Failover([PAID, LOCAL], local_max_wait_s=WAIT_S).placed(PAID.target) is None


def test_a_job_that_found_no_room_is_checked_again_later_and_later() -> None:
    """After a second, then twice as long each time, up to a bound."""
    failover = policy(LOCAL, PAID)
    waits = [failover.stayed() for _ in range(7)]
    assert waits[:3] == [1.0, 2.0, 4.0]
    assert waits[-1] == LONGEST_RECHECK_S


def test_a_job_may_move_to_what_is_open_and_locally_only_to_a_free_slot() -> None:
    """It has waited already: not into the next queue, and not to who refuses now."""
    failover = policy(BOUNDED, LOCAL, at("other", most_wait_ms=5000), OTHER, PAID)
    assert failover.overflow() == [at("other", most_wait_ms=5000), PAID]
    closed = at("closed", "gemini", rank=CLOSED)
    assert acceptable_now([*failover.overflow(), closed]) == [at("other", most_wait_ms=1), PAID]


def test_a_job_that_moved_may_come_back_if_its_new_place_fails() -> None:
    """However long the wait then: the bound has done its work."""
    failover = policy(BOUNDED, LOCAL, PAID)
    assert failover.moved(PAID.target) is None
    assert failover.failed(Unavailable("away"), PAID.target, 1) == [LOCAL]
