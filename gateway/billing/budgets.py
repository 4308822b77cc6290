"""The budgets while the gateway runs: asked before a request is let in, told how it ended, heard by whoever watches.

What is decided is core/budgets.py's; here the decisions become errors, log lines, metrics and alerts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NoReturn, Protocol

from gateway.core.pricing.budget_errors import Exceeded, Holder, Unpriced
from gateway.core.pricing.budgets import UNKNOWN_HELD_NS, Budgets, BudgetState, Crossing, Reservation
from gateway.core.pricing.charges import Booking
from gateway.core.pricing.prices import format_usd
from gateway.core.types import VirtualKey
from gateway.telemetry.log import Log
from gateway.telemetry.metrics import Metrics


class Alerts(Protocol):
    """Where crossings are sent (gateway/billing/alerts.py)."""

    def configure(self, url: str, secret: str) -> None: ...
    def tell(self, crossing: Crossing) -> None: ...
    async def close(self) -> None: ...


class BudgetKeeper:
    """``team_of``: a key's team, for metrics. ``allow_unpriced``: whether keys with a budget may use models without a
    price; a reload may change it.
    """

    def __init__(
        self,
        budgets: Budgets,
        *,
        log: Log,
        metrics: Metrics,
        alerts: Alerts,
        team_of: Callable[[str], str | None],
        allow_unpriced: bool,
    ) -> None:
        self.budgets = budgets
        self.allow_unpriced = allow_unpriced
        self._log = log
        self._metrics = metrics
        self.alerts = alerts
        self._team_of = team_of

    def limited(self, key: VirtualKey, model: str, wall_ns: int) -> bool:
        """Whether the key or its team has a budget, so that it matters what a request may cost.

        Raises LimitError if nothing is left of one: that is said before anybody counts, which may take long.
        """
        states = [self.budgets.state(holder, wall_ns) for holder in holders_of(key)]
        if any(state is not None and state.left == 0 and state.limit.amount for state in states):
            probe = self.budgets.reserve("", holders_of(key), 1, wall_ns)
            if isinstance(probe, Exceeded):
                self._denied(probe, key, model)
        return any(state is not None for state in states)

    def reserve(self, id: str, key: VirtualKey, model: str, amount: int | None, wall_ns: int) -> Reservation:
        """Reserve on the key and its team. ``id``: the exchange's; ``wall_ns``: its intent's time.

        ``amount``: nano-dollars the request costs at most, None if its price is unknown.
        Raises LimitError 429 ``insufficient_quota``, ClientError 403 for a model without a price.
        """
        answer = self.budgets.reserve(id, holders_of(key), amount, wall_ns, allow_unpriced=self.allow_unpriced)
        if isinstance(answer, Exceeded):
            self._denied(answer, key, model)
        if isinstance(answer, Unpriced):
            raise answer.error(model)
        assert isinstance(answer, Reservation)
        return answer

    def _denied(self, exceeded: Exceeded, key: VirtualKey, model: str) -> NoReturn:
        self._log.warning("budget_denied", key=key.name, holder="/".join(exceeded.holder), model=model)
        raise exceeded.error()

    def settle(self, reservation: Reservation, booking: Booking) -> None:
        """The request has ended as it is booked. What is unknown is held for a day from its intent: of a request that
        was never answered what its attempts had at stake, at most what was reserved.
        """
        until_ns = reservation.admitted_ns + UNKNOWN_HELD_NS
        doubtful = booking.upstream_cost if booking.state == "unknown" else booking.in_doubt
        doubtful = min(doubtful, max(0, reservation.amount - booking.charged))
        if doubtful:
            self.tell(self.budgets.settle_in_part(reservation, booking.charged, doubtful, until_ns))
        else:
            self.tell(self.budgets.settle(reservation, booking.charged))

    def top_up(self, reservation: Reservation, amount: int | None, wall_ns: int) -> bool:
        """Let a request that is under way cost up to ``amount``, None if that is unknown; False if it may not."""
        if amount is None:
            limited = any(self.budgets.state(holder, wall_ns) is not None for holder in reservation.holders)
            return self.allow_unpriced or not limited
        return self.budgets.top_up(reservation, amount, wall_ns) is None

    def expire(self, wall_ns: int) -> None:
        """Give up what was held for a day without becoming known, and say so."""
        for reservation in self.budgets.expire(wall_ns):
            self._log.warning(
                "hold_released",
                exchange=reservation.id,
                holders=["/".join(holder) for holder in reservation.holders],
                reserved_usd=format_usd(reservation.amount),
                advice="compare with PiAPI's bill: piapi-gateway usage --reconcile",
            )

    def tell(self, crossings: Iterable[Crossing]) -> None:
        """Budgets were crossed: into the log, the metrics, and to the webhook."""
        for crossing in crossings:
            kind, name = crossing.holder
            key, team = (name, self._team_of(name)) if kind == "key" else ("", name)
            self._log.warning(
                "budget_crossed",
                holder=f"{kind}/{name}",
                percent=crossing.percent,
                budget_usd=format_usd(crossing.limit.amount),
                period=crossing.limit.period,
                used_usd=format_usd(crossing.charged),
            )
            self._metrics.budget_crossed(key, team, crossing.percent)
            self.alerts.tell(crossing)

    def states(self, wall_ns: int) -> list[BudgetState]:
        """Every budget there is, for the metrics."""
        return self.budgets.states(wall_ns)


def holders_of(key: VirtualKey) -> tuple[Holder, ...]:
    """Whose budgets a request of this key counts against."""
    return (("key", key.name),) if key.team is None else (("key", key.name), ("team", key.team))
