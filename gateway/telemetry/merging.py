"""The metrics of several processes as one scrape: each family says how its series become one.

Counters and histograms add up. Of gauges, what is shared out among processes (requests in flight) adds up, what each of
them sees of one thing (a budget) is the largest seen, and what should be well everywhere (an engine) the smallest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from operator import add
from typing import Any

from gateway.telemetry.exposition import Buckets, Exposed, Value


def merged(scrapes: Iterable[Iterable[Exposed]]) -> list[Exposed]:
    """One scrape of several. Families, and the series of each, stand in the order in which they first come."""
    families: dict[str, tuple[Exposed, dict[str, Value]]] = {}
    for scrape in scrapes:
        for family in scrape:
            first, series = families.setdefault(family.name, (family, {}))
            merge = _add if first.type != "gauge" else _OF_GAUGES[first.merge]
            for labels, value in family.series:
                have = series.get(labels)
                series[labels] = value if have is None else merge(have, value)
    return [replace(first, series=list(series.items())) for first, series in families.values()]


def as_data(exposed: Iterable[Exposed]) -> list[dict[str, Any]]:
    """Counters and gauges as JSON, for ``from_data``."""
    return [
        {
            "name": one.name,
            "help": one.help,
            "type": one.type,
            "labels": list(one.labels),
            "series": list(one.series),
            "merge": one.merge,
            "nano": one.nano,
        }
        for one in exposed
    ]


def from_data(data: Sequence[dict[str, Any]]) -> list[Exposed]:
    """What ``as_data`` was made of."""
    return [
        Exposed(
            one["name"],
            one["help"],
            one["type"],
            tuple(one["labels"]),
            [(labels, value) for labels, value in one["series"]],
            merge=one["merge"],
            nano=one["nano"],
        )
        for one in data
    ]


def _add(one: Value, other: Value) -> Value:
    if isinstance(one, Buckets) and isinstance(other, Buckets):
        return Buckets(list(map(add, one.counts, other.counts)), one.sum + other.sum)
    assert not isinstance(one, Buckets)
    assert not isinstance(other, Buckets)
    return one + other


def _number(value: Value) -> float:
    assert not isinstance(value, Buckets)
    return value


def _largest(one: Value, other: Value) -> Value:
    return max(_number(one), _number(other))


def _smallest(one: Value, other: Value) -> Value:
    return min(_number(one), _number(other))


_OF_GAUGES = {"sum": _add, "max": _largest, "min": _smallest}
