"""The lower bound of what a day must cost."""

from __future__ import annotations

import random
from itertools import permutations

import pytest

from bench.simulator.bound import LowerBound
from bench.simulator.load import Request
from bench.simulator.plan import best_plan
from bench.simulator.site import Site, host
from shared.models.catalogue import NANO_USD

ONE_SLOT = Site(hosts=(host(1, 1, 10),), projects=0)


def usd(site: Site, *requests: Request) -> float:
    """Return what these requests cost if they are all paid for."""
    return sum(map(site.cost_nano_usd, requests)) / NANO_USD


def least_paid_usd(requests: list[Request], site: Site) -> float:
    """Return the best that one local slot allows, by trying every order of every choice of requests."""
    best = usd(site, *requests)
    for count in range(len(requests) + 1):
        for order in permutations(requests, count):
            free_ms = 0
            for request in order:
                began_ms = max(free_ms, request.arrived_ms)
                if began_ms > request.arrived_ms + site.wait_s * 1000:
                    break
                free_ms = began_ms + site.hosts[0].service_ms(request)
            else:
                best = min(best, usd(site, *(request for request in requests if request not in order)))
    return best


def test_of_ten_that_come_at_once_to_a_slot_nine_are_paid_for() -> None:
    """Each would take 100 s, and none may wait for over 10 s: the bound is exact here."""
    requests = [Request(number, 0, 0, 1, 1000) for number in range(10)]
    assert LowerBound(requests, ONE_SLOT).usd() == pytest.approx(usd(ONE_SLOT, *requests[1:]), rel=0.01)


def test_the_dear_one_is_kept_for_the_free_place() -> None:
    """The bound knows that a dear request is to come, and pays for the cheap one before it."""
    cheap, dear = Request(0, 0, 0, 1, 500), Request(1, 0, 1_000, 6000, 1000)
    assert LowerBound([cheap, dear], ONE_SLOT).usd() == pytest.approx(usd(ONE_SLOT, cheap), rel=0.01)
    in_order = sum(one.cost_nano_usd for one in best_plan([cheap, dear], ONE_SLOT)) / NANO_USD
    assert in_order == usd(ONE_SLOT, dear)


def test_a_minutes_quota_is_a_minutes() -> None:
    """One project may begin 20 requests (10 of each of two models) in a clock minute, and nothing is there besides."""
    site = Site(hosts=(host(1, 1, 0.001),), projects=1)
    requests = [Request(number, 0, 0, 100, 100) for number in range(50)]
    assert LowerBound(requests, site).usd() == pytest.approx(usd(site, *requests[20:-1]), rel=0.03)


def test_where_everything_fits_nothing_must_be_paid() -> None:
    """The bound of a calm day is zero."""
    requests = [Request(number, 0, number * 60_000, 100, 100) for number in range(20)]
    assert LowerBound(requests, ONE_SLOT).usd() == 0


@pytest.mark.parametrize("seed", range(12))
def test_no_choice_and_no_order_pays_less_than_the_bound(seed: int) -> None:
    """Found by trying all of them, for days of five requests."""
    chance = random.Random(seed)
    requests = [
        Request(number, 0, arrived_ms, chance.randint(1, 3000), chance.randint(10, 600))
        for number, arrived_ms in enumerate(sorted(chance.randint(0, 60_000) for _ in range(5)))
    ]
    least = least_paid_usd(requests, ONE_SLOT)
    bound = LowerBound(requests, ONE_SLOT).usd()
    assert bound <= least + 1e-12
    assert bound > 0 or least < usd(ONE_SLOT, *requests)
    assert sum(one.cost_nano_usd for one in best_plan(requests, ONE_SLOT)) / NANO_USD >= least - 1e-12
