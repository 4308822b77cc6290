"""A circuit breaker: closed while requests succeed, open for a while after failures, then half-open for one probe.

    closed ── failures in a row, or half of the recent results ──▶ open ── its time is over ──▶ half-open
      ▲                                                            ▲                              │
      └──────────── a request begun since then succeeded ──────────┼──────────────────────────────┤
                                                                   └── the probe failed: longer ──┘

The numbers follow Envoy's outlier detection (consecutive failures, a longer ejection each time, jitter) and Finagle (a
probe, failing open). A breaker only advises: a request with no other target may go through an open one.

What one member (virtual key) asks for can be what fails. A breaker that only one member's requests have opened is open
for that member; it opens for all once another's request fails too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from gateway.core.chance import Randomness
from gateway.core.routing.rolling_count import RollingCount
from gateway.core.types import FailoverPolicy

BreakerState = Literal["closed", "open", "half_open"]

ENOUGH_TO_JUDGE = 20
"""Results in the window before the share of failures among them counts."""

FAILING_SHARE = 0.5
JITTER = 0.2

PROBE_LASTS = 30.0
"""Seconds after which a probe that still runs (a long stream) no longer keeps other requests from probing."""

GOOD_STANDING = 3
"""Failures in a row from which an endpoint or model no longer counts as reliable (see ``reliable``)."""

UNPROBED_FOR = 60.0
"""Seconds of being half-open after which any request may be the probe, since no preferred one has come."""


OTHERS = 2
"""Failures of other members' requests from which on a breaker that one member's have opened is open for all."""

STRIKERS_KEPT = 8
"""Members whose failures are counted apart."""


@dataclass(frozen=True, slots=True)
class OpenBreaker:
    """An open breaker, as gateways tell one another of it.

    ``since``: how many seconds ago it opened. ``left``: seconds until a probe may go through.
    ``only_for``: the only member whose requests it stops. ``times``: how often it opened in a row.
    """

    since: float
    left: float
    only_for: str | None
    times: int


class Breaker:
    """The breaker of one endpoint or of one model.

    ``places``: from how many different places failures must have come before it opens (see ``strike``).

    ``opened``: when it opened, monotonic seconds; None while it is closed.

    ``on_change``: called when it has opened, closed, or opened for other requests or longer by what was seen here.
    """

    def __init__(self, policy: FailoverPolicy, *, places: int = 1) -> None:
        self.policy = policy
        self.on_change: Callable[[], None] = lambda: None
        self._places_needed = places
        self._places: set[str] = set()
        self._strikers: dict[str, RollingCount] = {}  # the members of the latest failures
        self._only_for: str | None = None
        self._others = 0  # failures of other members while it is open for one
        self._in_a_row = 0
        self._strikes = RollingCount(policy.breaker_window)
        self._results = RollingCount(policy.breaker_window)
        self.opened: float | None = None
        self._until = 0.0
        self._times = 0
        self._probe_began: float | None = None

    def state(self, now: float) -> BreakerState:
        """The state at ``now``."""
        if self.opened is None:
            return "closed"
        return "open" if now < self._until else "half_open"

    def seconds_left(self, now: float) -> float:
        """Seconds until a probe may go through; 0 if not open."""
        return max(0.0, self._until - now) if self.opened is not None else 0.0

    def reliable(self, now: float) -> bool:
        """Whether at most a stray failure or two happened recently."""
        if self.opened is not None:
            return False
        return self._in_a_row < GOOD_STANDING or self._strikes.total(now) == 0

    def admits(self, now: float, *, may_probe: bool, asker: str = "") -> bool:
        """Whether a request of ``asker`` should be sent through.

        ``may_probe``: whether this request may be the probe of a half-open breaker.
        """
        if self._only_for is not None and self._only_for != asker:
            return True
        match self.state(now):
            case "closed":
                return True
            case "open":
                return False
            case "half_open":
                return not self._probing(now) and (may_probe or now >= self._until + UNPROBED_FOR)

    def begin(self, now: float) -> None:
        """Record that a request is sent through, advised or not; ``end`` must follow."""
        if self.opened is not None and self.state(now) == "half_open" and not self._probing(now):
            self._probe_began = now

    def end(self, began: float) -> None:
        """Record that the request which ``began`` then is over; if it was the probe, another may follow."""
        if self._probe_began == began:
            self._probe_began = None

    def succeed(self, began: float, now: float) -> None:
        """Record the success of a request that ``began`` then. Only one that began after the breaker opened can close
        it.
        """
        self._results.add(now)
        if self.opened is None:
            self._in_a_row = 0
            if self._places:
                self._places.clear()
        elif began >= self.opened:
            self._close()

    def strike(self, place: str, began: float, now: float, rng: Randomness, asker: str = "") -> None:
        """Record a failure, at ``place``, of a request of ``asker`` that ``began`` then. Failures of requests that were
        under way when the breaker opened are ignored, but for those of other members where it is open for one.
        """
        if self.opened is not None:
            if self._only_for is not None and self._only_for != asker:
                self._others += 1
                if self._others >= OTHERS:
                    self._only_for = None
                    self._until = max(self._until, now + self.policy.eject)
                    self.on_change()
            elif began >= self.opened and self.state(now) == "half_open":
                self._open(now, rng)
            return
        self._remember(asker, now)
        self._results.add(now)
        self._strikes.add(now)
        self._in_a_row += 1
        if len(self._places) < self._places_needed:
            self._places.add(place)
        if len(self._places) >= self._places_needed and self._too_many(now):
            self._only_for = self._lonely_striker(now)
            self._open(now, rng)

    def excuse(self) -> None:
        """Forget the failures so far, since another part was at fault. The places where they were seen are
        remembered.
        """
        if self.opened is None:
            self._in_a_row = 0
            self._strikes.clear()
            self._results.clear()
            self._strikers.clear()

    def open_for(self, seconds: float, now: float, asker: str = "") -> None:
        """Open for a given time, such as an upstream's Retry-After, that a request of ``asker`` was told."""
        if self.opened is None:
            self.opened, self._only_for, self._others = now, asker, 0
        elif self._only_for != asker:
            self._only_for = None
        self._until = max(self._until, now + seconds)
        self.on_change()

    def shown(self, now: float) -> OpenBreaker | None:
        """What other gateways are told of it; None while it is closed."""
        if self.opened is None:
            return None
        return OpenBreaker(now - self.opened, max(0.0, self._until - now), self._only_for, self._times)

    def hear(self, told: OpenBreaker | None, now: float) -> None:
        """Take over what another gateway tells of the same endpoint or model."""
        if told is None:
            if self.opened is not None:
                self._reset()
            return
        self.opened, self._until = now - told.since, now + told.left
        self._only_for, self._times, self._others = told.only_for, told.times, 0
        self._probe_began = None

    def _remember(self, asker: str, now: float) -> None:
        count = self._strikers.pop(asker, None) or RollingCount(self.policy.breaker_window)
        count.add(now)
        self._strikers[asker] = count
        if len(self._strikers) > STRIKERS_KEPT:
            del self._strikers[next(iter(self._strikers))]

    def _lonely_striker(self, now: float) -> str | None:
        """The member whose requests are nearly all that failed of late; None if those of others failed too."""
        counts = {asker: count.total(now) for asker, count in self._strikers.items()}
        most = max(counts, key=lambda asker: counts[asker])
        return most if sum(counts.values()) - counts[most] < OTHERS else None

    def _probing(self, now: float) -> bool:
        return self._probe_began is not None and now < self._probe_began + PROBE_LASTS

    def _too_many(self, now: float) -> bool:
        if self._in_a_row >= self.policy.breaker_failures:
            return True
        results = self._results.total(now)
        return results >= ENOUGH_TO_JUDGE and self._strikes.total(now) >= FAILING_SHARE * results

    def _open(self, now: float, rng: Randomness) -> None:
        # Without a failure for as long as the longest ejection, the ejections start from the shortest again.
        self._others = 0
        self._times = 1 if now > self._until + self.policy.eject_max else self._times + 1
        seconds = min(self.policy.eject * self._times, self.policy.eject_max)
        self.opened = now
        self._until = now + seconds * (1.0 + JITTER * (2.0 * rng.random() - 1.0))
        self.on_change()

    def _close(self) -> None:
        self._reset()
        self.on_change()

    def _reset(self) -> None:
        self.opened = self._only_for = None
        self._strikers.clear()
        self._in_a_row = 0
        self._places.clear()
        self._strikes.clear()
        self._results.clear()
