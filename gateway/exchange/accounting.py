"""One exchange's account: what was tried and used, told exactly once to the ledger, the metrics and the log.

The account fills in the exchange's one record (core/exchange_record.py); those who are told read it there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from functools import lru_cache
from typing import Protocol

from gateway.core.billing_terms import Terms
from gateway.core.errors import GatewayError
from gateway.core.exchange_record import OUR_MISTAKE as OUR_MISTAKE
from gateway.core.exchange_record import AttemptRecord, BookedPrice, Booking, ExchangeRecord, Trace
from gateway.core.headers import Header, Headers
from gateway.core.pricing.budgets import Reservation
from gateway.core.pricing.charges import settle_charges
from gateway.core.pricing.price_text import price_text
from gateway.core.pricing.prices import format_usd
from gateway.core.pricing.service_tiers import TIERS, billed_tier
from gateway.core.routing.learned_routing import Avoided
from gateway.core.routing.route_table import AttemptPlan, Failover
from gateway.core.types import OTHER, CostClass, Outcome, Phase, Price, Route, VirtualKey
from gateway.exchange.attempt import Attempt
from gateway.exchange.services import Services
from gateway.stores.records import TaskRecord
from gateway.telemetry.redaction import fingerprint
from gateway.telemetry.request_line import attempt_fields
from gateway.translate.commands import Conversation

_LONGEST_MODEL = 256
"""Characters of a model's name, by an upstream, that the books keep."""

_BROKEN_OFF = ("drain_cut", "deadline", "internal_error")
"""How an attempt ends that we ourselves broke off: what was made and not delivered does not count then."""

_NO_ATTEMPTS: Headers = ((b"x-gateway-attempts", b"0"),)

_booked_price = lru_cache(maxsize=1024)(BookedPrice)
"""The same price, model and tier are booked again and again; an upstream may name any model."""


class Asked(Protocol):
    """What the account wants to know of an operation."""

    @property
    def route(self) -> str: ...


class Account:
    """One exchange's account: opened with the request, settled once.

    ``record``: all that is told of the exchange. ``reserved``: whether an intent row may stand in the ledger.
    ``reservation``: what it holds of its budgets, None until it does.
    ``bounds``: nano-dollars that budgets hold for each subrequest, above which none is charged; None without budgets.
    ``unpriced``: whether a price was not known when it was let in, so that what turns out to be due is asked for then.
    ``refusal``: what it was refused with before anything was attempted; None if it was not.
    """

    __slots__ = (
        *("_attempts", "_decided", "_prices", "_route", "_services", "_settled", "_told"),
        *("bounds", "record", "refusal", "reservation", "reserved", "unpriced"),
    )

    def __init__(
        self,
        services: Services,
        operation: Asked,
        route: Route,
        key: VirtualKey,
        request_id: str,
        trace: Trace | None = None,
    ) -> None:
        self._services = services
        self._prices = services.snapshot.prices
        self._route = route
        self._attempts: list[AttemptRecord] = []
        self._told: bytes | None = None  # what the key pays, for headers
        self._decided = False
        self._settled = False
        self.record = ExchangeRecord(
            services.new_id(),
            key=key.name,
            team=key.team,
            route=operation.route,
            model=route.named,
            request_id=request_id,
            attempts=self._attempts,
            listed_model=route.model,
            began=services.clock.monotonic(),
            trace=trace,
        )
        if trace is not None:
            trace.exchange_begins()
        self.reserved = False
        self.reservation: Reservation | None = None
        self.bounds: Sequence[int] | None = None
        self.unpriced = False
        self.refusal: GatewayError | None = None

    @property
    def id(self) -> str:
        """The exchange's."""
        return self.record.id

    def intent(self, at_ns: int, pieces: int = 1) -> ExchangeRecord:
        """The record, with what is committed before an upstream is called.

        ``at_ns``: when its budgets were asked. ``pieces``: how many are bought each by itself.
        """
        record = self.record
        record.at_ns, record.pieces = at_ns, pieces
        record.reserved = self.reservation.amount if self.reservation is not None else 0
        for target in self._route.targets:
            if target.cost_class is CostClass.PAID:
                record.paid = True
        return record

    def begin(self, plan: AttemptPlan, conversation: Conversation, attempt: Attempt, subrequest: int = 0) -> None:
        """An attempt of the exchange's subrequest number ``subrequest`` starts."""
        credential = plan.credential
        record = AttemptRecord(
            plan.target.upstream.name,
            plan.endpoint.url,
            credential.name,
            subrequest=subrequest,
            number=plan.number,
            fingerprint=fingerprint(credential.value),
            began=self._services.clock.monotonic(),
            target=plan.target,
            work=conversation,
            driver=attempt,
        )
        self._attempts.append(record)
        if (trace := self.record.trace) is not None:
            attempt.trace_headers = tuple(trace.attempt_begins(record))

    def from_cache(self) -> None:
        """It is answered with what was kept: nothing is asked of an upstream, and nothing charged."""
        record = self.record
        record.state, record.confidence, record.charged, record.cost = "settled", "measured", 0, "0.00"
        record.cached = self._decided = True

    def begun_elsewhere(self, plan: AttemptPlan, avoided: Avoided) -> None:
        """An endpoint was not asked first by what was learned."""
        if not self.record.learned:
            self.record.learned = str(avoided)
            self._services.metrics.begun_elsewhere(self._route.model, plan.target.upstream.name)

    def end(self, attempt: Attempt, outcome: Outcome, failovers: Sequence[Failover]) -> None:
        """An attempt has ended. ``failovers``: the changes of way since its subrequest last ended one."""
        record, services = self._attempts[-1], self._services
        if record.driver is not attempt:  # one of several that run side by side
            record = next(one for one in self._attempts if one.driver is attempt)
        record.outcome, record.phase = outcome.slug, outcome.phase
        record.status, record.detail = outcome.status, outcome.detail
        record.ended = services.clock.monotonic()
        _let_go(record)
        services.metrics.attempt(record.upstream, record.endpoint, outcome.slug)
        for failover in failovers:
            services.metrics.failover(self._route.model, failover.from_upstream, failover.to_upstream, failover.reason)
        if not outcome.ok:
            record.task_id = None if record.work is None else record.work.task_id
            services.log.warning("attempt", request_id=self.record.request_id, **attempt_fields(record))

    async def record_task(self, plan: AttemptPlan, task_id: str) -> None:
        """Return once the ledger knows that this exchange made the task with the plan's key."""
        services, record = self._services, self.record
        task = TaskRecord(
            task_id=task_id,
            upstream=plan.target.upstream.name,
            credential=plan.credential.name,
            exchange=record.id,
            key=record.key,
            model=record.model,
            at_ns=services.clock.wall_ns(),
        )
        began = services.clock.monotonic()
        try:
            await services.ledger.record_task(task)
        finally:
            services.metrics.ledger_wait("task", services.clock.monotonic() - began)

    def first_content(self) -> None:
        """The first meaningful bytes went to the client."""
        if self.record.first_content is None:
            self.record.first_content = self._services.clock.monotonic() - self.record.began

    @property
    def sent(self) -> bool:
        """Whether anything may have left for an upstream."""
        return any(one.sent or (one.driver is not None and one.driver.sent) for one in self._attempts)

    def headers(self) -> Headers:
        """What every answer says of how it came about."""
        attempts, expected = self._attempts, self.record.expected
        made = _made_by(attempts[-1].upstream, len(attempts)) if attempts else _NO_ATTEMPTS
        return made if expected is None else (*made, (b"x-gateway-expected-seconds", b"%.4g" % expected))

    def tokens_used(self) -> int | None:
        """Input and output together, once settled; None when nothing is known."""
        if not self._settled:
            return None
        usage = self.record.usage
        return usage.input_tokens + usage.output_tokens

    def charge_of(self, subrequest: int) -> str | None:
        """What the key pays for a subrequest, in US dollars, if its attempt ends well with what has come so far; None
        if unknown. That is what is booked for it then: the rules are the same, and so are the facts.
        """
        attempt = next(one for one in reversed(self._attempts) if one.subrequest == subrequest)
        so_far = attempt.outcome, attempt.phase
        attempt.outcome, attempt.phase = "ok", Phase.FORWARDED
        try:
            return _charged(self._book([attempt], Booking()))
        finally:
            attempt.outcome, attempt.phase = so_far

    def charge(self) -> str | None:
        """What the key pays, in US dollars, once all attempts have ended; None if unknown. It will be booked."""
        if not self._decided:
            self.record.cost = _charged(self._book(self._attempts, self.record))
            self._decided = True
        return self.record.cost

    def _book(self, attempts: Sequence[AttemptRecord], booking: Booking) -> Booking:
        """Fill in what these attempts come to."""
        bounds = self.bounds
        for one in attempts:
            self._measure(one)
            one.bound = None if bounds is None else bounds[one.subrequest]
        settle_charges(attempts, booking)
        if booking.above_bound and self.unpriced and self.reservation is not None:
            bound = [one.bound for one in attempts]
            for one in attempts:
                one.bound = None
            settle_charges(attempts, booking)
            if not self._services.budgets.top_up(self.reservation, booking.charged, self._services.clock.wall_ns()):
                for one, own in zip(attempts, bound, strict=True):
                    one.bound = own
                settle_charges(attempts, booking)
        return booking

    def _measure(self, attempt: AttemptRecord) -> None:
        """Fill in what decides an attempt's price. Counting tokens, where nothing was measured, happens here."""
        work, target = attempt.work, attempt.target
        assert work is not None
        assert target is not None
        attempt.usage = usage = work.usage
        attempt.terms = terms = work.terms
        attempt.price, attempt.own_price = self._prices.of_answer(target, terms.model)
        attempt.cost_class, attempt.operation = target.cost_class, target.operation
        if usage is None and attempt.phase >= Phase.UNKNOWN:
            attempt.estimated = work.estimate()
        attempt.images = work.delivered if attempt.outcome in _BROKEN_OFF else work.images
        attempt.quality, attempt.size, attempt.stated = work.quality, work.size, work.stated_cost
        attempt.task_id = work.task_id

    def settle(self, status: int, error: GatewayError | None = None) -> bytes | None:
        """Close the account; a second call changes nothing. Returns what the key pays in US dollars, if known.

        ``error``: what the client is answered with. If nothing was attempted it becomes the ``refusal``, and the line
        in the log is left to who knows the request.
        """
        if self._settled:
            return self._told
        try:
            self.charge()
        finally:
            self._settled = True
            record, services = self.record, self._services
            if not self._decided:  # a mistake of ours: the row is settled as unknown before the mistake is raised
                _leave_unknown(record)
            self._close(status, error)
            if self.reserved:
                services.ledger.settle(record)
            if self.reservation is not None:
                services.budgets.settle(self.reservation, record)
            services.metrics.observe(record)
            if self.refusal is None:
                services.log.request(record)
            if record.trace is not None:
                record.trace.exchange_ended(record)
        return self._told

    def _close(self, status: int, error: GatewayError | None) -> None:
        """Fill in what is known at the end. Nothing of the record changes afterwards."""
        record, attempts, clock = self.record, self._attempts, self._services.clock
        record.status = status
        record.settled_ns = clock.wall_ns()
        record.duration = duration = clock.monotonic() - record.began
        if record.cost is not None:
            self._told = record.cost.encode()
        if error is not None:
            record.code = error.code
            if not attempts:
                self.refusal = error.with_traceback(None)  # no reference back to the exchange
        waited = 0.0
        for attempt in attempts:
            _let_go(attempt)
            waited += attempt.waited
            record.task_id = record.task_id or attempt.task_id
            attempt.work = None  # the books are told of its work, not of its words
        record.overhead = duration - waited if duration > waited else 0.0
        if attempts:
            last = attempts[-1]
            record.upstream, record.endpoint, record.credential = last.upstream, last.endpoint, last.credential
            self._name_price(record)

    def _name_price(self, record: ExchangeRecord) -> None:
        """Say what it is booked at: the price it began with, also after a reload; that of another model if the answer
        named one.
        """
        decisive = self._attempts[0]
        if decisive.outcome != "ok":
            decisive = next((one for one in self._attempts if one.outcome == "ok"), self._attempts[-1])
        target, terms = decisive.target, record.terms
        assert target is not None
        price, named = record.price or target.price, (terms.model or "")[:_LONGEST_MODEL]
        record.tier = _tier(price, terms)
        if record.state == "settled":
            model = named if named and price is not target.price else target.model
            record.booked = _booked_price(target.upstream.name, model, price_text(price), record.tier)
        if named and terms.model != target.model:
            asked = [one.target.model for one in self._attempts if one.target is not None]
            record.answered_model = None if terms.model in asked else named


@lru_cache(maxsize=256)
def _made_by(upstream: str, attempts: int) -> tuple[Header, ...]:
    return (b"x-gateway-upstream", upstream.encode()), (b"x-gateway-attempts", b"%d" % attempts)


def _let_go(attempt: AttemptRecord) -> None:
    """Take over the figures of who made the attempt, which has ended, or never will."""
    driver, attempt.driver = attempt.driver, None
    if driver is not None:
        attempt.bytes_out, attempt.bytes_in = driver.bytes_out, driver.bytes_in
        attempt.waited, attempt.sent = driver.waited, driver.sent


def _leave_unknown(record: ExchangeRecord) -> None:
    """Book nothing, and say that nothing is known."""
    for one in fields(Booking):
        setattr(record, one.name, one.default)
    for attempt in record.attempts:
        attempt.cost, attempt.reason = 0, "unknown"


def _tier(price: Price | None, terms: Terms) -> str:
    """The service tier for the books: a name that is known, ``other`` for any word of an upstream's, empty for none."""
    tier = billed_tier(terms)
    if tier is None:
        return ""
    return tier if tier in TIERS or (price is not None and tier in price.tiers) else OTHER


def _charged(booking: Booking) -> str | None:
    """US dollars, as headers and answers tell them; None if they are not known."""
    return None if booking.confidence == "unknown" else format_usd(booking.charged)
