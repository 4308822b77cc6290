"""The retry budget: how many retries one upstream may get, so that a failing upstream is not buried under them.

Retries at the same upstream stay within a share of its requests over ten seconds; a few may always run at once, so that
a gateway with little traffic retries at all (SRE book, ch. 22; Envoy's ``retry_budget``). Going on to another upstream
is not a retry of this one; neither is another try after nothing was sent or after a key was refused, nor the move from
a host that failed to one that works (``docs/decisions/005``).
"""

from __future__ import annotations

from gateway.core.routing.rolling_count import RollingCount

RETRY_WINDOW = 10.0
"""Seconds."""

ALWAYS_ALLOWED = 3
"""Retries that may run at once regardless of the share."""


class RetryBudget:
    """The retry budget of one upstream.

    ``ratio``: retries per request.
    """

    def __init__(self, ratio: float) -> None:
        self.ratio = ratio
        self._requests = RollingCount(RETRY_WINDOW)
        self._retries = RollingCount(RETRY_WINDOW)
        self._running = 0

    def request(self, now: float) -> None:
        """Count an exchange that comes to this upstream for the first time."""
        self._requests.add(now)

    def affords(self, now: float) -> bool:
        """Whether one more retry is within the budget."""
        if self._running < ALWAYS_ALLOWED:
            return True
        return self._retries.total(now) + 1 <= self.ratio * self._requests.total(now)

    def begin(self, now: float) -> None:
        """Count a retry that starts; ``end`` must follow."""
        self._retries.add(now)
        self._running += 1

    def end(self) -> None:
        """Record that a retry has ended."""
        self._running -= 1
