"""The budgets of keys and teams while the gateway runs: loaded from the ledger, asked by requests, shown to metrics.

What is decided is core/pricing/budgets.py's; here the decisions become errors, log lines, metrics and alerts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NoReturn, Protocol, cast

from gateway.billing.budget_figures import KeysInForce as KeysInForce
from gateway.billing.budget_figures import budgets_of_keys as budgets_of_keys
from gateway.billing.budget_figures import charged_by_owner, money_figures, percents_of_keys
from gateway.billing.budget_loading import hold_again
from gateway.billing.budget_loading import load_budgets as load_budgets
from gateway.billing.refusals import BudgetRefusals
from gateway.billing.shared_counting import SharedCounting
from gateway.core.connection_options import DIRECT, ConnectionOptions
from gateway.core.errors import GatewayError
from gateway.core.exchange_record import Booking, ExchangeRecord
from gateway.core.pricing.budget_errors import Exceeded, Holder, Unpriced
from gateway.core.pricing.budgets import (
    UNKNOWN_HELD_NS,
    Budgets,
    Crossing,
    Reservation,
    holders_of,
)
from gateway.core.pricing.calendar import utc_time
from gateway.core.pricing.price_lines import SuggestedPrice, no_suggestion, price_lines
from gateway.core.pricing.prices import format_usd
from gateway.core.pricing.shared_budgets import SharedBudgets
from gateway.core.types import Budget, Route, VirtualKey
from gateway.runtime.ports import Clock
from gateway.stores.alert_records import AlertRecords
from gateway.stores.base import Ledger
from gateway.stores.records import KnownAlerts
from gateway.telemetry.log import Log
from gateway.telemetry.metrics import Metrics, MoneySources

LOOK_EVERY = 5.0
"""Seconds between two looks at the ledger's month, and at reservations that are held too long."""

LOOK_EVERY_SHARED = 30.0
"""The same where several gateways look at one server."""


class Alerts(Protocol):
    """Where crossings are sent (gateway/billing/alerts.py)."""

    def configure(self, url: str, secret: str, options: ConnectionOptions = DIRECT) -> None: ...
    def keep_in(self, records: AlertRecords) -> None: ...
    def tell(self, crossing: Crossing) -> None: ...
    def tell_refusal(self, refusal: Exceeded) -> None: ...
    def count_as_told(self, crossing: Crossing) -> None: ...
    async def restore(self) -> KnownAlerts | None: ...
    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class BudgetSettings:
    """What the configuration says about budgets. A key brings its own budget with it.

    ``teams``: the budget of each team that has one. ``allow_unpriced``: whether a key with a budget may use a model
    whose price is unknown. ``suggested_price``: what such a model probably costs, to be told with the refusal.
    ``alerts``: the percentages that are told of a team's budget, where not the usual ones.
    """

    teams: Mapping[str, Budget]
    allow_unpriced: bool = False
    alerts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    suggested_price: SuggestedPrice = no_suggestion


class BudgetService:
    """Every budget of the running gateway, and what is used of it.

    ``alerts``: where crossings are sent. ``shared``: asks the store that counts budgets for several gateways; None
    where this one counts them.
    """

    def __init__(
        self,
        budgets: Budgets,
        settings: BudgetSettings,
        *,
        keys: KeysInForce,
        ledger: Ledger,
        clock: Clock,
        log: Log,
        metrics: Metrics,
        alerts: Alerts,
    ) -> None:
        self.budgets = budgets
        self.alerts = alerts
        self._settings = settings
        self._keys = keys
        self._ledger = ledger
        self._clock = clock
        self._log = log
        self._metrics = metrics
        self._refusals = BudgetRefusals(log, metrics, clock, alerts.tell_refusal)
        self._charged_this_month: Mapping[tuple[str, str | None], int] = {}
        self._look_every = LOOK_EVERY
        self.shared: SharedCounting | None = None
        if isinstance(budgets, SharedBudgets) and ledger.budgets is not None:
            self.shared = SharedCounting(budgets, ledger, clock, log, self._tell, self._deny)
            self._look_every = LOOK_EVERY_SHARED

    # Configured, loaded, watched

    async def load(self) -> None:
        """Start from the ledger: what was charged in the current periods, and what is held. Before any request.

        Raises the ledger's error if it cannot be read.
        """
        now_ns = self._clock.wall_ns()
        self.budgets.configure(self._limits(), now_ns, self._percents())
        self._show_refusals(self._keys.keys)
        charges = await load_budgets(self.budgets, self._ledger, now_ns)
        self._charged_this_month = await charged_by_owner(charges["month"])
        if self.shared is not None:
            await self.shared.load()
        if (known := await self.alerts.restore()) is not None:
            self._remember(known)

    def _remember(self, known: KnownAlerts) -> None:
        """Tell what was reached and not told, as the process ended before; and nothing that was told by it."""
        self._refusals.restore(known.alerts)
        told: dict[tuple[Holder, int], set[int]] = {}
        for alert in known.alerts:
            if alert.cause.isdigit():
                told.setdefault((cast("Holder", alert.holder), alert.period_start_ns), set()).add(int(alert.cause))
        crossings = self.budgets.untold(told)
        if known.told_before:
            for crossing in crossings:
                self.alerts.count_as_told(crossing)
        else:
            self._tell(crossings)

    def configure(self, settings: BudgetSettings) -> None:
        """Obey a reloaded configuration, and the budgets of the keys that are in force with it."""
        self._settings = settings
        self.keys_changed()

    def keys_changed(self) -> None:
        """Obey the budgets of the keys that are in force now."""
        self._tell(self.budgets.configure(self._limits(), self._clock.wall_ns(), self._percents()))
        self._show_refusals(self._keys.keys)
        if self.shared is not None:
            self.shared.configured()

    def key_changed(self, key: VirtualKey) -> None:
        """Obey the budgets of one key as it is now. Takes as long with ten thousand keys as with one."""
        limits, alerts = budgets_of_keys((key,)), percents_of_keys((key,))
        self._tell(self.budgets.configure_key(key.name, limits, self._clock.wall_ns(), alerts))
        self._show_refusals((key,))
        if self.shared is not None:
            self.shared.configured(key.name)

    async def watch(self) -> None:
        """Renew the ledger's month and give up what was held too long, every LOOK_EVERY seconds, for ever."""
        if self.shared is None:
            await self._watch()
        else:
            await asyncio.gather(self._watch(), self.shared.watch())

    async def _watch(self) -> None:
        while True:
            now_ns = self._clock.wall_ns()
            self._expire(now_ns)
            try:
                month = self.budgets.periods(now_ns)["month"]
                if self.budgets.set_back:
                    await self._recount(now_ns)
                charges = await self._ledger.charged_since(month.start_ns, month.end_ns)
                self._charged_this_month = await charged_by_owner(charges)
            except GatewayError:
                pass  # the ledger has said so in the log; the last figures stand
            await asyncio.sleep(self._look_every)

    async def _recount(self, now_ns: int) -> None:
        """The clock was set back: fill the periods that it shows now from the ledger, and hold what it held.

        Raises errors.ledger_unavailable(); it is done again then.
        """
        self._log.warning("clock_set_back", now=utc_time(now_ns))
        self.budgets.set_back = False
        periods = list(self.budgets.periods(now_ns).values())
        try:
            charges = {one: await self._ledger.charged_since(one.start_ns, one.end_ns) for one in periods}
            holds = await self._ledger.held(now_ns)
        except GatewayError:
            self.budgets.set_back = True
            raise
        self.budgets.recount(charges)
        for held in holds:
            if not held.running and not self.budgets.is_open(held.id):
                hold_again(self.budgets, held)  # it was given up when the clock was ahead

    # Asked by requests

    def limited(self, key: VirtualKey, model: str, wall_ns: int, asked: str = "") -> bool:
        """Whether the key, for this model, or its team has a budget, so that it matters what a request may cost.

        ``asked``: the model as the client named it, which ``model`` may be spelled otherwise.
        Raises LimitError if nothing is left of one, however what runs may end: counting what a request may cost
        takes long and would be in vain.
        """
        holders = holders_of(key.name, key.team)
        if not self.budgets.limited(holders, model=model, asked=asked):
            return False
        exhausted = self.budgets.exhausted(holders, wall_ns, model=model, asked=asked)
        if exhausted is not None:
            self._deny(exhausted, key, model)
        return True

    def requires_price(self, key: VirtualKey) -> bool:
        """Whether the key may use only what has a price, since it or its team has a budget."""
        if self._settings.allow_unpriced:
            return False
        return self._any_limited(holders_of(key.name, key.team), self._clock.wall_ns())

    def reserve(
        self,
        id: str,
        key: VirtualKey,
        model: str,
        amount: int | None,
        wall_ns: int,
        asked: str = "",
        *,
        route: Route | None = None,
        why: Callable[[], str] = lambda: "",
    ) -> Reservation:
        """Reserve on the key, on its budgets for the model, and on the team. ``id``: the exchange's; ``wall_ns``: its
        intent's time; ``asked``: see ``limited``; ``route``: of the model, for the lines that would give it a price.

        ``amount``: nano-dollars the request costs at most, None if its price is unknown. ``why``: says of what.
        Raises LimitError 429, ``rate_limit_exceeded`` if only running requests are in the way, else
        ``insufficient_quota``; ClientError 403 for a model without a price.
        """
        answer = self.budgets.reserve(
            id,
            holders_of(key.name, key.team),
            amount,
            wall_ns,
            allow_unpriced=self._settings.allow_unpriced,
            model=model,
            asked=asked,
        )
        if type(answer) is Reservation:
            return answer
        if isinstance(answer, Exceeded):
            self._deny(replace(answer, why=why()), key, model)
        assert isinstance(answer, Unpriced)
        raise answer.error(model, price_lines(route, self._settings.suggested_price) if route is not None else "")

    def top_up(self, reservation: Reservation, amount: int | None, wall_ns: int) -> bool:
        """Let a request that is under way cost up to ``amount``, None if that is unknown; False if it may not."""
        if amount is None:
            return self._settings.allow_unpriced or not self._any_limited(reservation.holders, wall_ns)
        return self.budgets.top_up(reservation, amount, wall_ns) is None

    async def top_up_shared(self, intent: ExchangeRecord, reservation: Reservation, amount: int | None) -> bool:
        """``top_up`` by the store that counts budgets. ``intent``: as it was admitted."""
        if amount is None or self.shared is None:
            return self.top_up(reservation, amount, self._clock.wall_ns())
        return await self.shared.top_up(intent, reservation, amount)

    def final_error(
        self,
        error: GatewayError,
        reservation: Reservation | None,
        key: VirtualKey,
        model: str,
        why: Callable[[], str] = lambda: "",
    ) -> GatewayError:
        """What the client is told of a request that failed with ``error``: if it failed because its budgets had no room
        for a dearer way, which budget that was, and whether it may come back.
        """
        denied = None if reservation is None else reservation.denied
        if denied is None or error.code != "insufficient_quota":
            return error
        denied = replace(denied, why=why())
        self._refusals.note(denied, key, model)
        return denied.error()

    def settle(self, reservation: Reservation, booking: Booking) -> None:
        """End a request as it is booked. What is in doubt stays held, at most what was reserved, for a day from the
        request's intent.
        """
        doubtful = booking.doubtful and min(booking.doubtful, max(0, reservation.amount - booking.charged))
        if doubtful:
            until_ns = reservation.admitted_ns + UNKNOWN_HELD_NS
            self._tell(self.budgets.settle_in_part(reservation, booking.charged, doubtful, until_ns))
        elif crossings := self.budgets.settle(reservation, booking.charged):
            self._tell(crossings)
        if self.shared is not None:
            self.shared.ended()

    def most_chargeable(self, key: str, team: str | None, model: str, reserved: int) -> int | None:
        """Nano-dollars that an exchange whose outcome has become known may be charged at most; None without a budget.

        ``reserved``: what it reserved; of one without, since its price was not known, what is left.
        """
        left = self.budgets.left(holders_of(key, team), self._clock.wall_ns(), model=model)
        return left if left is None else reserved or left

    def resolve(self, exchange: str, charged: int) -> None:
        """Settle what is held for an exchange whose outcome has become known. ``charged``: nano-dollars its key pays.

        Nothing happens if nothing is held for it (any more).
        """
        self._tell(self.budgets.resolve(exchange, charged) or ())

    # Shown

    def figures(self) -> MoneySources:
        """What the metrics show: every budget, and the month by the ledger for every key, from zero; as many of each
        kind as there are series.
        """
        return money_figures(self.budgets, self._keys, self._charged_this_month, self._clock.wall_ns())

    def _limits(self) -> dict[Holder, Budget]:
        """Every budget of the keys and teams in force."""
        return {
            **budgets_of_keys(self._keys.keys),
            **{("team", team): own for team, own in self._settings.teams.items()},
        }

    def _percents(self) -> dict[Holder, tuple[int, ...]]:
        """The percentages that are told of a key's or a team's budgets, where they are not the usual ones."""
        return {
            **percents_of_keys(self._keys.keys),
            **{("team", team): alert for team, alert in self._settings.alerts.items()},
        }

    def _show_refusals(self, keys: Iterable[VirtualKey]) -> None:
        for key in keys:
            if key.budget is not None or key.model_budgets or key.team in self._settings.teams:
                self._metrics.budget_may_refuse(key.name, key.team)

    def _any_limited(self, holders: Iterable[Holder], wall_ns: int) -> bool:
        return any(self.budgets.state(holder, wall_ns) is not None for holder in holders)

    def _deny(self, exceeded: Exceeded, key: VirtualKey, model: str) -> NoReturn:
        self._refusals.note(exceeded, key, model)
        raise exceeded.error()

    def _expire(self, wall_ns: int) -> None:
        """Give up reservations that were held for a day without becoming known, and log them."""
        for reservation in self.budgets.expire(wall_ns):
            self._log.warning(
                "hold_released",
                exchange=reservation.id,
                holders=["/".join(holder) for holder in reservation.holders],
                reserved_usd=format_usd(reservation.amount),
                advice="compare with PiAPI's bill: piapi-gateway usage --reconcile",
            )

    def _tell(self, crossings: Iterable[Crossing]) -> None:
        """Pass crossings on to the log, the metrics and the webhook."""
        for crossing in crossings:
            kind, name = crossing.holder[:2]
            key, team = (name, self._team_of(name)) if kind == "key" else ("", name)
            self._log.warning(
                "budget_crossed",
                holder="/".join(crossing.holder),
                percent=crossing.percent,
                budget_usd=format_usd(crossing.limit.amount),
                period=crossing.limit.period,
                used_usd=format_usd(crossing.charged),
            )
            self._metrics.budget_crossed(key, team, crossing.percent)
            self.alerts.tell(crossing)

    def _team_of(self, name: str) -> str | None:
        key = self._keys.named(name)
        return None if key is None else key.team
