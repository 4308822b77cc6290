"""What was refused for want of budget, told: to the log and the metrics each time, to the operator's webhook now and
then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

from gateway.core.pricing.budget_errors import Exceeded, Holder, RefusalReason
from gateway.core.types import Budget, VirtualKey
from gateway.runtime.ports import Clock
from gateway.stores.records import StoredAlert
from gateway.telemetry.log import Log
from gateway.telemetry.metrics import Metrics

TOLD_AGAIN_NS = 3600 * 1_000_000_000
"""Nanoseconds that pass at least between two messages on the same budget, for the same reason."""


_REASONS = ("reserved", "used_up", "too_large")


class BudgetRefusals:
    """Tells refusals on. ``tell``: sends one to the webhook.

    The webhook is told once for each budget, period and reason, and not again within an hour even if the budget was
    changed or a period began.
    """

    def __init__(self, log: Log, metrics: Metrics, clock: Clock, tell: Callable[[Exceeded], None]) -> None:
        self._log = log
        self._metrics = metrics
        self._clock = clock
        self._tell = tell
        self._told: dict[tuple[Holder, RefusalReason], tuple[int, Budget, int]] = {}

    def restore(self, alerts: Iterable[StoredAlert]) -> None:
        """Tell not again what was told by an earlier process. ``alerts``: oldest first."""
        for alert in alerts:
            if alert.cause in _REASONS:
                told = (alert.period_start_ns, alert.budget, alert.at_ns)
                self._told[cast("Holder", alert.holder), cast("RefusalReason", alert.cause)] = told

    def note(self, refusal: Exceeded, key: VirtualKey, model: str) -> None:
        """A request of ``key`` for ``model`` was refused."""
        holder, reason = refusal.holder, refusal.reason
        self._log.warning("budget_denied", key=key.name, holder="/".join(holder), model=model, reason=reason)
        self._metrics.budget_refused(key.name, key.team)
        now_ns = self._clock.wall_ns()
        told = self._told.get((holder, reason))
        if told is not None:
            start_ns, limit, told_ns = told
            same = (start_ns, limit) == (refusal.period.start_ns, refusal.limit)
            if same or 0 <= now_ns - told_ns < TOLD_AGAIN_NS:  # a clock may have been set back
                return
        self._told[holder, reason] = (refusal.period.start_ns, refusal.limit, now_ns)
        self._tell(refusal)
