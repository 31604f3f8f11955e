"""The simulator's own check of a served day finds what cannot be."""

from __future__ import annotations

import pytest

from bench.simulator.check import faults_of
from bench.simulator.load import Request, Workload, requests_of
from bench.simulator.plan import MINUTE_MS, best_plan
from bench.simulator.served import Served
from bench.simulator.site import GEMINI, LOCAL_MODEL, Site, host
from shared.models.catalogue import Catalogue, Quota

MODEL = "gemini-x"
CATALOGUE = Catalogue(quotas={MODEL: Quota(requests_per_minute=2, prompt_tokens_per_minute=100, requests_per_day=3)})
SITE = Site(hosts=(host(1, 1, 10),), projects=1, catalogue=CATALOGUE)


def request(number: int, prompt_tokens: int = 10) -> Request:
    """Return a request of the day's first moment."""
    return Request(number, 0, 0, prompt_tokens, 10)


def locally(asked: Request, began_ms: int, ended_ms: int) -> Served:
    """Served by the host's only slot."""
    return Served(asked, "local", SITE.hosts[0].queue, LOCAL_MODEL, "", began_ms, ended_ms, 0)


def for_free(asked: Request, began_ms: int) -> Served:
    """Served by a free project."""
    return Served(asked, "gemini", GEMINI.queue, MODEL, "project-0", began_ms, began_ms + 1, 0)


def test_a_day_that_was_possible_has_no_fault() -> None:
    """A slot is free again at the very moment that a request ends; a minute's quota after a minute."""
    served = [
        locally(request(0), 0, 10),
        locally(request(1), 10, 20),
        for_free(request(2), 0),
        for_free(request(3), 0),
    ]
    served.append(for_free(request(4), MINUTE_MS))
    assert faults_of([one.request for one in served], served, SITE) == []


@pytest.mark.parametrize(
    ("served", "fault"),
    [
        ([], "served 0 times"),
        ([locally(request(0), 0, 1), locally(request(0), 1, 2)], "served 2 times"),
        ([locally(Request(0, 0, 5, 1, 1), 4, 6)], "began before it came"),
        ([locally(request(0), 0, 10), locally(request(1), 9, 20)], "2 at once in 1 slots"),
        ([for_free(request(number), number) for number in range(3)], "3 requests in a minute"),
        ([for_free(request(number, 60), number) for number in range(2)], "120 prompt tokens in a minute"),
        ([for_free(request(number), number * MINUTE_MS) for number in range(4)], "4 requests in a day"),
    ],
)
def test_what_cannot_be_is_found(served: list[Served], fault: str) -> None:
    """A request lost or served twice, a slot or a quota used beyond what it is."""
    requests = {0: request(0)} | {one.request.number: one.request for one in served}
    assert any(fault in found for found in faults_of(list(requests.values()), served, SITE))


def test_a_plan_uses_no_more_than_there_is() -> None:
    """The all-knowing router has the same slots and quotas."""
    requests = requests_of(Workload(requests=3000))
    site = Site()
    planned = best_plan(requests, site)
    assert faults_of(requests, planned, site) == []
    assert max(one.began_ms - one.request.arrived_ms for one in planned) <= site.wait_s * 1000


def test_a_day_is_the_same_for_the_same_seed() -> None:
    """And another one for another."""
    assert (
        requests_of(Workload(requests=200))
        == requests_of(Workload(requests=200))
        != requests_of(Workload(requests=200, seed=2))
    )
    assert len(requests_of(Workload(requests=1001, bursts=7))) == 1001
