"""What a running gateway says of itself to ``piapi-gateway status`` and to ``GET /admin/v1/upstreams``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gateway import __version__
from gateway.app.learned_durations import describe_learned
from gateway.core.errors import GatewayError, StoreError
from gateway.core.pricing.prices import usd_number
from gateway.core.routing.listed_models import ListedModels
from gateway.exchange.services import Services
from gateway.stores.base import Store

BOOKS_WITHIN = 2.0
"""Seconds: a store that hangs is not to keep the rest from being told."""


class SpentToday:
    """What all keys were charged today, asked of the books by one reader at a time: who asks while one reads waits for
    its answer.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._asking: asyncio.Task[float | None] | None = None

    async def dollars(self) -> float | None:
        """US dollars; None if the books do not say it in time. What was asked is not taken back: a server that hangs
        would keep us waiting for that as well.
        """
        if self._asking is None or self._asking.done():
            self._asking = self._services.tasks.spawn(self._read(), "spent-today")
        await asyncio.wait({self._asking}, timeout=BOOKS_WITHIN)
        return self._asking.result() if self._asking.done() and not self._asking.cancelled() else None

    async def _read(self) -> float | None:
        """By the ledger, and in the time zone of budgets; None if it cannot be read."""
        services = self._services
        day = services.budgets.budgets.periods(services.clock.wall_ns())["day"]
        try:
            charged = await services.ledger.charged_since(day.start_ns)
        except (GatewayError, StoreError):
            return None
        return usd_number(sum(charged.values()))


async def describe_gateway(
    services: Services,
    store: Store,
    lists: ListedModels,
    spent: SpentToday,
    *,
    leaving: bool,
    lag: float,
    off: Sequence[str],
) -> dict[str, Any]:
    """The state of everything, as JSON.

    ``lists``: what upstreams list themselves. ``leaving``: it is about to stop. ``lag``: seconds by which the event
    loop was late. ``off``: upstreams without a key.
    """
    now = services.clock.monotonic()
    upstreams = lists.beside(services.snapshot.states.describe(now))
    recent = services.metrics.recent
    return {
        "version": __version__,
        "store": store.name,
        "draining": leaving or services.gate.draining,
        **in_hand(services, store, lag),
        "spend_today_usd": await spent.dollars(),
        "upstreams": [{**one, "latency_seconds": recent.latency(one["name"])} for one in _mappings(upstreams)],
        "off": list(off),
        "learned": describe_learned(services),
    }


def in_hand(services: Services, store: Store, lag: float) -> dict[str, Any]:
    """What this process has to do; of several workers it is told of all together (``of_all``)."""
    return {
        "in_flight": len(services.gate),
        "ledger_rows_pending": store.ledger.pending,
        "event_loop_lag_seconds": round(lag, 4),
        "rates": services.metrics.recent.rates(),
    }


def of_all(each: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """``in_hand`` of several processes as one; at least one. Loops are late each for itself, the rest adds up."""
    return {
        "in_flight": sum(one["in_flight"] for one in each),
        "ledger_rows_pending": sum(one["ledger_rows_pending"] for one in each),
        "event_loop_lag_seconds": max(one["event_loop_lag_seconds"] for one in each),
        "rates": {name: round(sum(one["rates"][name] for one in each), 2) for name in each[0]["rates"]},
    }


def _mappings(upstreams: Iterable[Any]) -> Iterable[dict[str, Any]]:
    return (dict(one) for one in upstreams)
