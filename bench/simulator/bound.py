"""The least that any router could pay, whatever it knew: a lower bound that its own prices prove.

A router that knows all arrivals, sizes and service times decides for each request whether it begins at a local
host or in a free project within the longest wait, or is paid for. Three things of that problem are dropped, each in the
router's favour, so that what remains pays no more: the hosts' work is counted together and by `bucket_s`, not moment by
moment (a request still begins in time and runs on one host without a pause); the projects' quotas are counted together
and by clock minutes, not sliding ones, prompt tokens not at all; and requests are divisible.

For what remains, any prices of local work, of a minute's quota and of the day's prove a bound (weak duality of linear
programs): all requests together save at most the worth of all capacity at those prices and, each request for itself,
what its cost exceeds its cheapest place by. The prices are found by descent. How well decides how tight the bound is,
not whether it holds.
"""

from __future__ import annotations

from itertools import accumulate
from math import ceil, sqrt
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.simulator.load import Request
    from bench.simulator.site import Site

BUCKET_S: Final = 30.0
STEPS: Final = 200
_MINUTE_S: Final = 60
_DAY_S: Final = 86_400
_UNLIMITED: Final = 10**9
_FIRST_STEP, _LAST_STEP = 0.3, 0.003
_MEMORY, _SQUARE_MEMORY = 0.9, 0.99


class _Place(NamedTuple):
    """A host and a moment to begin: tokens a second; bucket and seconds in it of its beginning and of its end."""

    rate: float
    first: int
    begins_s: float
    last: int
    ends_s: float


class _Asking(NamedTuple):
    """A request: what it costs, local places whose price may be the lowest, the minutes it may begin in."""

    cost: int
    places: tuple[_Place, ...]
    minutes: range


class _Outcome(NamedTuple):
    """The bound that prices prove: the most that can be saved, and how far each capacity is overused at them."""

    saved: float
    overuse: list[float]


class LowerBound:
    """The bound of a day.

    Args:
        requests: of the day.
        site: what can serve them.
        bucket_s: by how many seconds local work is counted; fewer make the bound tighter, and take longer.
    """

    def __init__(self, requests: Sequence[Request], site: Site, bucket_s: float = BUCKET_S) -> None:
        self._bucket_s = bucket_s
        self._site = site
        self._all_nano_usd = sum(map(site.cost_nano_usd, requests))
        # Whoever comes in the last seconds may begin tomorrow, with tomorrow's quota: as if it were free.
        today = [request for request in requests if request.arrived_ms / 1000 + site.wait_s < _DAY_S]
        self._always_saved = self._all_nano_usd - sum(map(site.cost_nano_usd, today))
        self._asking = [self._routing_request(request) for request in today]
        self._buckets = 1 + max((place.last for asking in self._asking for place in asking.places), default=0)
        self._minutes = 1 + max((asking.minutes[-1] for asking in self._asking), default=0)
        quotas = [site.catalogue.quota(model) for model in site.catalogue.auto.gemini]
        of_minute = site.projects * sum(quota.requests_per_minute or _UNLIMITED for quota in quotas)
        of_day = site.projects * sum(quota.requests_per_day or _UNLIMITED for quota in quotas)
        work = bucket_s * sum(host.slots * host.output_per_s for host in site.hosts)
        self._capacities = [work] * self._buckets + [of_minute] * self._minutes + [of_day]

    def usd(self, steps: int = STEPS) -> float:
        """Return the bound: what any router pays for the day at least, in US dollars."""
        # Each outcome is a bound by itself, so the best that was seen counts, not the last.
        saved = min((outcome.saved for outcome in self._descent(steps)), default=self._all_nano_usd)
        return max(0.0, self._all_nano_usd - self._always_saved - saved) / 1e9

    def _descent(self, steps: int) -> Iterator[_Outcome]:
        """Yield the outcomes of prices ever closer to the best ones (Adam, on prices in units of what is usual)."""
        units = self._units()
        prices = [0.0] * len(units)
        mean, square = [0.0] * len(units), [0.0] * len(units)
        for step in range(steps):
            outcome = self._outcome([price * unit for price, unit in zip(prices, units, strict=True)])
            yield outcome
            # Long steps first, to come near, then ever shorter ones, to stay there.
            size = _FIRST_STEP * (_LAST_STEP / _FIRST_STEP) ** (step / steps)
            for place, overuse in enumerate(outcome.overuse):
                slope = overuse * units[place]
                mean[place] += (1 - _MEMORY) * (slope - mean[place])
                square[place] += (1 - _SQUARE_MEMORY) * (slope * slope - square[place])
                # A price that never moved has no scale; it stays where it is.
                scale = sqrt(square[place] / (1 - _SQUARE_MEMORY ** (step + 1)))
                if scale:
                    prices[place] = max(0.0, prices[place] + size * mean[place] / (1 - _MEMORY ** (step + 1)) / scale)

    def _units(self) -> list[float]:
        """Return usual prices: of a token of the local tier, of a request."""
        count = max(1, len(self._asking))
        of_request = self._all_nano_usd / count
        work = sum(place.rate * self._length_s(place) for asking in self._asking for place in asking.places[:1])
        of_token = self._all_nano_usd / max(1.0, work)
        return [of_token] * self._buckets + [of_request] * (self._minutes + 1)

    def _length_s(self, place: _Place) -> float:
        return (place.last - place.first) * self._bucket_s + place.ends_s - place.begins_s

    def _outcome(self, prices: list[float]) -> _Outcome:
        """Return the bound that these prices prove."""
        work, minutes, day = prices[: self._buckets], prices[self._buckets : -1], prices[-1]
        # Prices added up from the day's beginning: what a stretch of work costs is a difference of two of them.
        until = [0.0, *accumulate(price * self._bucket_s for price in work)]
        # Also the slope of the bound in each price: above 0 the price is too low.
        overuse = [-capacity for capacity in self._capacities]
        # The worth of all capacity at these prices; what requests save beyond their price is added to it.
        saved = sum(price * capacity for price, capacity in zip(prices, self._capacities, strict=True))
        for cost, places, choice in self._asking:
            lowest, chosen = day, -1
            for minute in choice:
                if chosen < 0 or day + minutes[minute] < lowest:
                    lowest, chosen = day + minutes[minute], minute
            in_local_tier = None
            for place in places:
                rate, first, begins_s, last, ends_s = place
                price = rate * (until[last] + work[last] * ends_s - until[first] - work[first] * begins_s)
                if price < lowest:
                    lowest, in_local_tier = price, place
            # At these prices it is better paid for.
            if lowest >= cost:
                continue
            saved += cost - lowest
            if in_local_tier is not None:
                self._occupy(in_local_tier, overuse)
            else:
                overuse[self._buckets + chosen] += 1
                overuse[-1] += 1
        return _Outcome(saved, overuse)

    def _occupy(self, place: _Place, overuse: list[float]) -> None:
        rate, first, begins_s, last, ends_s = place
        overuse[first] -= rate * begins_s
        overuse[last] += rate * ends_s
        for bucket in range(first, last):
            overuse[bucket] += rate * self._bucket_s

    def _routing_request(self, request: Request) -> _Asking:
        arrived_s = request.arrived_ms / 1000
        latest_s = arrived_s + self._site.wait_s
        places = []
        for host in self._site.hosts:
            length_s = host.service_ms(request) / 1000
            # Between these moments the price is a straight line: its lowest is at one of them.
            moments = {arrived_s, latest_s, *self._borders(arrived_s, latest_s)}
            moments |= {border - length_s for border in self._borders(arrived_s + length_s, latest_s + length_s)}
            places += [self._place(host.output_per_s, begins_s, begins_s + length_s) for begins_s in sorted(moments)]
        minutes = range(int(arrived_s // _MINUTE_S), int(latest_s // _MINUTE_S) + 1)
        return _Asking(self._site.cost_nano_usd(request), tuple(places), minutes)

    def _borders(self, begins_s: float, ends_s: float) -> list[float]:
        return [
            number * self._bucket_s for number in range(ceil(begins_s / self._bucket_s), ceil(ends_s / self._bucket_s))
        ]

    def _place(self, rate: float, begins_s: float, ends_s: float) -> _Place:
        first, last = int(begins_s // self._bucket_s), int(ends_s // self._bucket_s)
        return _Place(rate, first, begins_s - first * self._bucket_s, last, ends_s - last * self._bucket_s)
