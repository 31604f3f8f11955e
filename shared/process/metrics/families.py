"""Metric families that are built when they are asked for, from what a process knows anyway."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client.core import Metric

    Rows = Iterable[tuple[tuple[str, ...], float]]


def gauge(name: str, what: str, labels: tuple[str, ...], rows: Rows) -> Metric:
    """Make a gauge of a value for each set of labels."""
    family = GaugeMetricFamily(name, what, labels=labels)
    for values, value in rows:
        family.add_metric(values, value)
    return family


def counter(name: str, what: str, labels: tuple[str, ...], rows: Rows) -> Metric:
    """Make a counter of a value for each set of labels; its name is without `_total`."""
    family = CounterMetricFamily(name, what, labels=labels)
    for values, value in rows:
        family.add_metric(values, value)
    return family
