"""One exchange's account: what was tried and used, told exactly once to the ledger, the metrics and the log."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from gateway.core.billing_terms import Terms
from gateway.core.errors import GatewayError
from gateway.core.headers import Headers
from gateway.core.pricing.budgets import Reservation
from gateway.core.pricing.charges import AttemptCost, Booking, settle_charges
from gateway.core.pricing.price_text import price_text
from gateway.core.pricing.prices import format_usd
from gateway.core.pricing.service_tiers import TIERS, billed_tier
from gateway.core.routing.route_table import AttemptPlan, Failover
from gateway.core.types import OTHER, CostClass, Outcome, Phase, Price, Route, VirtualKey
from gateway.exchange.account_entry import NO_USAGE, Entry
from gateway.exchange.account_entry import OUR_MISTAKE as OUR_MISTAKE
from gateway.exchange.attempt import Attempt
from gateway.exchange.services import Services
from gateway.stores.records import BookedPrice, Intent, Settlement, TaskRecord
from gateway.telemetry.finished import FinishedExchange
from gateway.translate.commands import Conversation

_LONGEST_MODEL = 256
"""Characters of a model's name, by an upstream, that the books keep."""

_UNKNOWN_COST = AttemptCost(0, "unknown")
_SERVED = Outcome("ok", Phase.FORWARDED)


class Asked(Protocol):
    """What the account wants to know of an operation."""

    @property
    def route(self) -> str: ...


class Account:
    """One exchange's account: opened with the request, settled once.

    ``reserved``: whether an intent row may stand in the ledger. ``id``: the exchange's.
    ``reservation``: what it holds of its budgets, None until it does.
    ``bounds``: nano-dollars that budgets hold for each subrequest, above which none is charged; None without budgets.
    ``unpriced``: whether a price was not known when it was let in, so that what turns out to be due is asked for then.
    ``refusal``: what it was refused with before anything was attempted; None if it was not.
    """

    def __init__(self, services: Services, operation: Asked, route: Route, key: VirtualKey, request_id: str) -> None:
        self._services = services
        self._prices = services.snapshot.prices
        self._operation = operation
        self._route = route
        self._key = key
        self._request_id = request_id
        self._loop = asyncio.get_running_loop()
        self._began = services.clock.monotonic()
        self._duration = 0.0
        self.id = services.new_id()
        self._entries: list[Entry] = []
        self._first_at: float | None = None
        self._decided: Booking | None = None
        self._cost: str | None = None  # what the key pays, once that is decided and if it is known
        self._booking: Booking | None = None
        self.reserved = False
        self.reservation: Reservation | None = None
        self.bounds: Sequence[int] | None = None
        self.unpriced = False
        self.refusal: GatewayError | None = None

    def intent(self, at_ns: int, pieces: int = 1) -> Intent:
        """The row that is committed before an upstream is called.

        ``at_ns``: when its budgets were asked. ``pieces``: how many are bought each by itself.
        """
        return Intent(
            id=self.id,
            at_ns=at_ns,
            key=self._key.name,
            team=self._key.team,
            route=self._operation.route,
            model=self._route.named,
            request_id=self._request_id,
            reserved=self.reservation.amount if self.reservation is not None else 0,
            paid=any(target.cost_class is CostClass.PAID for target in self._route.targets),
            pieces=pieces,
        )

    def begin(self, plan: AttemptPlan, conversation: Conversation, attempt: Attempt, subrequest: int = 0) -> None:
        """An attempt of the exchange's subrequest number ``subrequest`` starts."""
        self._entries.append(Entry(plan, conversation, attempt, self._services.clock.monotonic(), subrequest))

    def end(self, attempt: Attempt, outcome: Outcome, failovers: Sequence[Failover]) -> None:
        """An attempt has ended. ``failovers``: the changes of way since its subrequest last ended one."""
        entry = next(entry for entry in reversed(self._entries) if entry.attempt is attempt)
        entry.outcome = outcome
        plan, services = entry.plan, self._services
        services.metrics.attempt(plan.target.upstream.name, plan.endpoint.url, outcome.slug)
        for failover in failovers:
            services.metrics.failover(self._route.model, failover.from_upstream, failover.to_upstream, failover.reason)
        entry.ended = services.clock.monotonic()
        if not outcome.ok:
            services.log.warning("attempt", request_id=self._request_id, **entry.line())

    async def record_task(self, plan: AttemptPlan, task_id: str) -> None:
        """Return once the ledger knows that this exchange made the task with the plan's key."""
        services = self._services
        record = TaskRecord(
            task_id=task_id,
            upstream=plan.target.upstream.name,
            credential=plan.credential.name,
            exchange=self.id,
            key=self._key.name,
            model=self._route.named,
            at_ns=services.clock.wall_ns(),
        )
        began = services.clock.monotonic()
        try:
            await services.ledger.record_task(record)
        finally:
            services.metrics.ledger_wait("task", services.clock.monotonic() - began)

    def first_content(self) -> None:
        """The first meaningful bytes went to the client."""
        if self._first_at is None:
            self._first_at = self._services.clock.monotonic()

    @property
    def sent(self) -> bool:
        """Whether anything may have left for an upstream."""
        return any(entry.attempt.sent for entry in self._entries)

    def headers(self) -> Headers:
        """What every answer says of how it came about."""
        if not self._entries:
            return ((b"x-gateway-attempts", b"0"),)
        last = self._entries[-1]
        return (
            (b"x-gateway-upstream", last.plan.target.upstream.name.encode()),
            (b"x-gateway-attempts", b"%d" % len(self._entries)),
        )

    def tokens_used(self) -> int | None:
        """Input and output together, once settled; None when nothing is known."""
        if self._booking is None:
            return None
        usage = self._booking.usage
        return usage.input_tokens + usage.output_tokens

    def charge_of(self, subrequest: int) -> str | None:
        """What the key pays for a subrequest, in US dollars, if its attempt ends well with what has come so far; None
        if unknown. That is what is booked for it then: the rules are the same, and so are the facts.
        """
        entry = next(entry for entry in reversed(self._entries) if entry.subrequest == subrequest)
        return _charged(self._booked([entry], _SERVED))

    def charge(self) -> str | None:
        """What the key pays, in US dollars, once all attempts have ended; None if unknown. It will be booked."""
        if self._decided is None:
            self._decided = self._booked(self._entries)
            self._cost = _charged(self._decided)
        return self._cost

    def _booked(self, entries: Sequence[Entry], outcome: Outcome | None = None) -> Booking:
        """What these attempts come to. ``outcome``: how they end, if they have not yet."""
        bounds = self.bounds
        facts = [
            one.facts(self._prices, outcome or one.outcome, None if bounds is None else bounds[one.subrequest])
            for one in entries
        ]
        bounded = settle_charges(facts)
        if not (bounded.above_bound and self.unpriced and self.reservation is not None):
            return bounded
        for one in facts:
            one.bound = None
        booking = settle_charges(facts)
        may = self._services.budgets.top_up(self.reservation, booking.charged, self._services.clock.wall_ns())
        return booking if may else bounded

    def settle(self, status: int, error: GatewayError | None = None) -> bytes | None:
        """Close the account; a second call changes nothing. Returns what the key pays in US dollars, if known.

        ``error``: what the client is answered with. If nothing was attempted it becomes the ``refusal``, and the line
        in the log is left to who knows the request.
        """
        if self._booking is None:
            try:
                self.charge()
            finally:
                booking = self._decided
                if booking is None:  # a mistake of ours: the row is settled as unknown before the mistake is raised
                    booking = Booking(0, NO_USAGE, (_UNKNOWN_COST,) * len(self._entries), "unknown", "unknown")
                self._booking = booking
                price = self._price_of(booking)
                tier = _tier(price, booking.terms)
                if self.reserved:
                    self._services.ledger.settle(self._settlement(booking, status, price, tier))
                if self.reservation is not None:
                    self._services.budgets.settle(self.reservation, booking)
                if error is not None and not self._entries:
                    self.refusal = error.with_traceback(None)  # no reference back to the exchange
                self._count(booking, status)
                if self.refusal is None:
                    self._tell(booking, status, tier, error)
        return None if self._cost is None else self._cost.encode()

    def _settlement(self, booking: Booking, status: int, price: Price | None, tier: str) -> Settlement:
        records = [entry.record(cost) for entry, cost in zip(self._entries, booking.costs, strict=True)]
        last = records[-1] if records else None
        usage = booking.usage
        return Settlement(
            id=self.id,
            at_ns=self._services.clock.wall_ns(),
            state=booking.state,
            upstream=last.upstream if last else None,
            endpoint=last.endpoint if last else None,
            credential=last.credential if last else None,
            attempts=tuple(records),
            input_tokens=usage.input_tokens,
            cached_input_tokens=usage.cached_input_tokens,
            output_tokens=usage.output_tokens,
            images=usage.images,
            charged=booking.charged,
            upstream_cost=booking.upstream_cost,
            confidence=booking.confidence,
            status=status,
            task_id=next(filter(None, [record.task_id for record in records]), None),
            price=self._booked_price(booking, price, tier) if booking.state == "settled" else None,
            answered_model=_other_model(self._entries, booking.terms),
            cache_write_tokens=usage.cache_write_tokens,
            reasoning_tokens=usage.reasoning_tokens,
        )

    def _booked_price(self, booking: Booking, price: Price | None, tier: str) -> BookedPrice | None:
        """What the exchange was booked at: the price it began with, also after a reload; that of another model if the
        answer named one.
        """
        entries = self._entries
        if not entries:
            return None
        target, named = _decisive(entries).plan.target, booking.terms.model
        model = named[:_LONGEST_MODEL] if named and price is not target.price else target.model
        return BookedPrice(target.upstream.name, model, price_text(price), tier)

    def _price_of(self, booking: Booking) -> Price | None:
        if booking.price is not None or not self._entries:
            return booking.price
        return _decisive(self._entries).plan.target.price

    def _count(self, booking: Booking, status: int) -> None:
        """Tell the metrics."""
        self._duration = duration = self._services.clock.monotonic() - self._began
        waited = sum([entry.attempt.waited for entry in self._entries])
        upstream = self._entries[-1].plan.target.upstream.name if self._entries else None
        self._services.metrics.observe(
            FinishedExchange(
                route=self._operation.route,
                model=self._route.model,
                upstream=upstream,
                status=status,
                key=self._key.name,
                team=self._key.team,
                charged=booking.charged,
                upstream_costs=[
                    (entry.plan.target.upstream.name, self._route.model, cost.reason, cost.amount)
                    for entry, cost in zip(self._entries, booking.costs, strict=True)
                ],
                usage=booking.usage,
                unpriced=booking.unpriced,
                duration=duration,
                time_to_first_token=None if self._first_at is None else self._first_at - self._began,
                overhead=max(0.0, duration - waited),
            )
        )

    def _tell(self, booking: Booking, status: int, tier: str, error: GatewayError | None) -> None:
        """Write the request's line in the log."""
        entries, usage = self._entries, booking.usage
        fields: dict[str, Any] = {
            "request_id": self._request_id,
            "route": self._operation.route,
            "key": self._key.name,
            "model": self._route.named,
            "status": status,
        }
        if error is not None:
            fields["code"] = error.code
        fields["attempts"] = len(entries)
        fields["input_tokens"] = usage.input_tokens
        fields["output_tokens"] = usage.output_tokens
        fields["images"] = usage.images
        fields["cost_usd"] = self._cost or format_usd(booking.charged)
        fields["confidence"] = booking.confidence
        if booking.unpriced:
            fields["unpriced"] = True
        if booking.above_bound:
            fields["above_bound"] = True
        if tier:
            fields["tier"] = tier
        fields["ms"] = round(self._duration * 1000, 1)
        if entries and entries[-1].outcome.ok:
            fields.update(entries[-1].line())
        self._services.log.info("request", **fields)


def _decisive(entries: Sequence[Entry]) -> Entry:
    """The attempt by which an exchange is booked: the first that served, or else the last one."""
    for entry in entries:
        if entry.outcome.ok:
            return entry
    return entries[-1]


def _other_model(entries: Sequence[Entry], terms: Terms) -> str | None:
    """The model that the answer names, cut short, if it is none that was asked for."""
    named = terms.model
    if not named or named in [entry.plan.target.model for entry in entries]:
        return None
    return named[:_LONGEST_MODEL]


def _tier(price: Price | None, terms: Terms) -> str:
    """The service tier for the books: a name that is known, ``other`` for any word of an upstream's, empty for none."""
    tier = billed_tier(terms)
    if tier is None:
        return ""
    return tier if tier in TIERS or (price is not None and tier in price.tiers) else OTHER


def _charged(booking: Booking) -> str | None:
    """US dollars, as headers and answers tell them; None if they are not known."""
    return None if booking.confidence == "unknown" else format_usd(booking.charged)
