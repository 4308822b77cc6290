"""Keeping what was learned of how long orders take: read at the start, written now and then, away from any request."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from typing import Any

from gateway.core.errors import GatewayError, StoreError
from gateway.core.routing.durations import LearnedKind
from gateway.core.types import ASYNCHRONOUS
from gateway.exchange.services import Services
from gateway.stores.duration_records import DurationRecords

EVERY = 5.0
"""Seconds between two looks at what is new; orders that are learned of take longer than that."""

NEWS_EVERY = 6
"""Looks until it is asked what the other gateways have seen."""


class KeptDurations:
    """What is learned of this gateway's orders, in its store."""

    def __init__(self, services: Services, records: DurationRecords) -> None:
        self._services = services
        self._records = records
        self._failing = False

    async def start(self) -> None:
        """Take over what was kept, and write what is new from now on. If it cannot be read, that is told and nothing
        is known.
        """
        try:
            self._services.learned.restore(await self._records.all())
        except (StoreError, GatewayError) as trouble:
            self._services.log.warning("learned_not_read", problem=str(trouble))
        self._services.tasks.spawn(self._watch(), "learned-durations")

    async def _watch(self) -> None:
        for look in count(1):
            await asyncio.sleep(EVERY)
            await self.write()
            if look % NEWS_EVERY == 0:
                await self._take_over_news()

    async def write(self) -> None:
        """Write what is new now. What cannot be written stays to be written."""
        learned = self._services.learned
        if not (changed := learned.changed()):
            return
        try:
            learned.take_over(await self._records.keep(changed, learned.half_life))
        except (StoreError, GatewayError) as trouble:
            learned.change_again(changed)
            if not self._failing:
                self._services.log.warning("learned_not_kept", problem=str(trouble))
            self._failing = True
        else:
            self._failing = False

    async def _take_over_news(self) -> None:
        """Know what other gateways have seen. What cannot be read now is read the next time."""
        with suppress(StoreError):
            self._services.learned.take_over(await self._records.news())


def describe_learned(services: Services) -> list[dict[str, Any]]:
    """What is known, as ``status`` shows it: a row for each kind of order, those first that take longest."""
    if not services.snapshot.learns:
        return []
    rows = [_row(services, one) for one in services.learned.kinds(services.clock.wall_ns() / 1e9)]
    return sorted(rows, key=lambda row: -(row["p90_seconds"] or 0.0))


def learned_figures(services: Services) -> Iterator[tuple[str, str, str, str, float]]:
    """What is known of each model that the configuration names, for metrics: those that clients name are one."""
    if not services.snapshot.learns:
        return
    named = {(one.upstream.name, one.model) for route in services.snapshot.routes for one in route.targets}
    merged = services.learned.together(
        services.clock.wall_ns() / 1e9, lambda upstream, model: (upstream, model) in named
    )
    for kind, expected in merged:
        for quantile, seconds in (("0.1", expected.p10), ("0.5", expected.p50), ("0.9", expected.p90)):
            yield kind.upstream, kind.operation, kind.model, quantile, seconds


def _row(services: Services, learned: LearnedKind) -> dict[str, Any]:
    kind, expected = learned.kind, learned.expected
    upstream = services.snapshot.upstreams.get(kind.upstream)
    walls = [] if upstream is None or expected is None or kind.operation in ASYNCHRONOUS else upstream.endpoints
    return {
        "upstream": kind.upstream,
        "operation": kind.operation,
        "model": kind.model,
        "size": kind.size,
        "quality": kind.quality,
        "pieces": kind.pieces,
        "orders": round(learned.weight, 1),
        "p10_seconds": None if expected is None else round(expected.p10, 2),
        "p50_seconds": None if expected is None else round(expected.p50, 2),
        "p90_seconds": None if expected is None else round(expected.p90, 2),
        "avoids": [one.url for one in walls if expected and one.wall is not None and one.wall < expected.p90],
    }
