"""The traffic of the last minutes, for people who look at ``status``: how much, how much of it failed, how long it
took.

Prometheus has all of this and more, in the metrics; this is for a gateway that is not scraped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from gateway.core.exchange_record import ExchangeRecord

SPAN = 300
"""Seconds that are looked back on."""

SLOT = 10
"""Seconds that are counted together."""

LAST = 500
"""Requests of an upstream whose times are kept."""

MOST_UPSTREAMS = 100


class RecentTraffic:
    """``monotonic``: seconds. Requests and errors of ``SPAN``, by slots of time; the last times of each upstream."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._began = monotonic()
        self._slots: deque[list[int]] = deque(maxlen=SPAN // SLOT)  # each: its number, requests, errors, refused
        self._times: dict[str, deque[tuple[float, float, float | None]]] = {}

    def observe(self, record: ExchangeRecord) -> None:
        """Count a request that has ended."""
        now, status = self._monotonic(), record.status
        number = int(now / SLOT)
        slots = self._slots
        if not slots or slots[-1][0] != number:
            slots.append([number, 0, 0, 0])
        slot = slots[-1]
        slot[1] += 1
        if status >= 500:
            slot[2] += 1
        elif 400 <= status < 499:
            slot[3] += 1
        if status == 200 and record.upstream is not None and record.duration is not None:
            try:
                times = self._times[record.upstream]
            except KeyError:
                if len(self._times) >= MOST_UPSTREAMS:
                    return
                times = self._times[record.upstream] = deque(maxlen=LAST)
            times.append((now, record.duration, record.first_content))

    def rates(self) -> dict[str, float]:
        """``requests_per_minute``, ``errors_per_minute`` (statuses from 500), ``refused_per_minute`` (from 400, clients
        that left excepted), over the last five minutes or since the start.
        """
        now = self._monotonic()
        oldest = int(now / SLOT) - SPAN // SLOT + 1
        recent = [slot for slot in self._slots if slot[0] >= oldest]
        minutes = min(max(now - self._began, SLOT), SPAN) / 60
        requests, errors, refused = (sum(slot[which] for slot in recent) / minutes for which in (1, 2, 3))
        return {
            "requests_per_minute": round(requests, 2),
            "errors_per_minute": round(errors, 2),
            "refused_per_minute": round(refused, 2),
        }

    def latency(self, upstream: str) -> dict[str, Any] | None:
        """Seconds of an upstream's last successful requests, at most ``LAST`` of the last five minutes: ``p50``,
        ``p95``, ``first_token_p50``, ``requests``; None if there were none.
        """
        since = self._monotonic() - SPAN
        last = [one for one in self._times.get(upstream, ()) if one[0] >= since]
        if not last:
            return None
        whole = sorted(seconds for _, seconds, _ in last)
        first = sorted(seconds for _, _, seconds in last if seconds is not None)
        return {
            "p50": _quantile(whole, 50),
            "p95": _quantile(whole, 95),
            "first_token_p50": _quantile(first, 50) if first else None,
            "requests": len(last),
        }


def _quantile(ordered: list[float], percent: int) -> float:
    """The nearest rank's value."""
    return round(ordered[max(0, -(-len(ordered) * percent // 100) - 1)], 3)
