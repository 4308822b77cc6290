"""The one record of a request, and the one of each of its attempts: opened as it begins, filled in while it lives, read
by the ledger, the metrics and the log when it has ended. Plain data, without anything that was asked or answered, and
without secrets.

Who fills in what: exchange/accounting.py; what the money comes to: core/pricing/charges.py. After it was handed to the
ledger it does not change any more: the ledger's thread reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from gateway.core.billing_terms import USUAL_TERMS, Terms
from gateway.core.headers import Headers
from gateway.core.types import (
    Confidence,
    CostClass,
    CostReason,
    OperationName,
    Outcome,
    Phase,
    Price,
    State,
    Target,
    Usage,
)

if TYPE_CHECKING:
    from gateway.core.pricing.claims import Claims

NO_USAGE = Usage()

OUR_MISTAKE = Outcome("internal_error", Phase.UNKNOWN, detail="the gateway failed during this attempt")
"""What an attempt came to if nothing else is known of it."""


class BookedPrice(NamedTuple):
    """What a request was booked at. Once written down, it is never changed.

    ``upstream``, ``model``: whose price it is, the model by the upstream's name.
    ``price``: JSON text, US dollars under the configuration's names (``price_text``); empty if it was not known.
    ``tier``: the service tier that served it; empty for none.
    """

    upstream: str
    model: str
    price: str
    tier: str = ""


class Work(Protocol):
    """What an attempt's conversation tells the books of its work."""

    @property
    def usage(self) -> Usage | None:
        """The usage the upstream stated; None until it did."""
        ...

    @property
    def terms(self) -> Terms:
        """On which terms the answer is sold, as far as it has come."""
        ...

    @property
    def images(self) -> int:
        """Images received so far."""
        ...

    @property
    def delivered(self) -> int:
        """The images of these that were handed to the client, or kept for its answer."""
        ...

    @property
    def quality(self) -> str | None:
        """The quality of the images, for prices that are tables; None where unknown or not asked for."""
        ...

    @property
    def size(self) -> str | None:
        """Their size, likewise."""
        ...

    @property
    def stated_cost(self) -> int | None:
        """Nano-dollars the upstream itself named as this work's cost; None if it named none."""
        ...

    @property
    def task_id(self) -> str | None:
        """The upstream's id of the paid task; None until it is known."""
        ...

    def estimate(self) -> Usage:
        """Tokens counted from what was sent and received so far, for an upstream that states no usage."""
        ...


class Driver(Protocol):
    """What is known of an attempt while it runs: bytes of bodies, seconds waited, whether anything may have left."""

    @property
    def bytes_in(self) -> int: ...

    bytes_out: int
    waited: float
    sent: bool


class Trace(Protocol):
    """The trace of a request, which is told how its exchanges go (telemetry/tracing.py). Nothing of it waits."""

    def exchange_begins(self) -> None: ...

    def attempt_begins(self, attempt: AttemptRecord) -> Headers:
        """Give the attempt a span. Returns the headers by which its upstream goes on with the trace."""
        ...

    def exchange_ended(self, record: ExchangeRecord, *, counts: bool = True) -> None:
        """Told once of every exchange that began. ``counts``: whether metrics count it."""
        ...

    def joins(self, paying: Trace | None) -> None:
        """The request waits for what another one pays for; None if that one's trace is not known."""
        ...


@dataclass(slots=True)
class AttemptRecord:
    """One attempt. Its first fields are what the books keep; ``outcome`` is the slug.

    ``cost``: nano-dollars owed upstream for it, for ``reason``.
    ``task_id``: the upstream's id of the paid task it created, if it created one.

    What decides its price:
    ``usage``: what the upstream stated; None if it stated nothing.
    ``estimated``: what was counted instead: the tokens sent and received so far, and in ``images`` the images asked
        for.
    ``images``: the images that arrived.
    ``quality``, ``size``: of the images asked for, for prices that are tables; None if not given.
    ``stated``: nano-dollars the upstream itself named for finished work, which override any price; None if it named
        none.
    ``subrequest``: which of the exchange's subrequests made the attempt.
    ``terms``: on which terms the answer was sold.
    ``own_price``: whether ``price`` is that of the model that answered.
    ``bound``: nano-dollars that budgets hold for its subrequest, above which the key is not charged; None where no
        budget holds any.

    What the log tells: ``number``, from 1; ``fingerprint`` of the key; ``status`` and ``detail`` of its outcome; bytes
    of bodies; ``began``, ``ended`` and ``waited`` for the upstream, in seconds. ``sent``: whether anything may have
    left.

    ``span_id``: of its span; 0 without a trace.
    ``target``: what was asked; ``work``: what is made of the answer, until the exchange is settled; ``driver``: who
    makes it, until it has ended. None for a row that was read.
    """

    upstream: str
    endpoint: str
    credential: str
    outcome: str = OUR_MISTAKE.slug
    phase: int = OUR_MISTAKE.phase
    cost: int = 0
    reason: CostReason = "billed"
    task_id: str | None = None
    price: Price | None = field(default=None, compare=False, repr=False)
    cost_class: CostClass = field(default=CostClass.TOKENS, compare=False, repr=False)
    operation: OperationName = field(default="chat", compare=False, repr=False)
    usage: Usage | None = field(default=None, compare=False, repr=False)
    estimated: Usage = field(default=NO_USAGE, compare=False, repr=False)
    images: int = field(default=0, compare=False, repr=False)
    quality: str | None = field(default=None, compare=False, repr=False)
    size: str | None = field(default=None, compare=False, repr=False)
    stated: int | None = field(default=None, compare=False, repr=False)
    subrequest: int = field(default=0, compare=False, repr=False)
    terms: Terms = field(default=USUAL_TERMS, compare=False, repr=False)
    own_price: bool = field(default=True, compare=False, repr=False)
    bound: int | None = field(default=None, compare=False, repr=False)
    number: int = field(default=1, compare=False, repr=False)
    fingerprint: str = field(default="", compare=False, repr=False)
    status: int | None = field(default=None, compare=False, repr=False)
    detail: str = field(default=OUR_MISTAKE.detail, compare=False, repr=False)
    bytes_out: int = field(default=0, compare=False, repr=False)
    bytes_in: int = field(default=0, compare=False, repr=False)
    began: float = field(default=0.0, compare=False, repr=False)
    ended: float = field(default=0.0, compare=False, repr=False)
    waited: float = field(default=0.0, compare=False, repr=False)
    sent: bool = field(default=False, compare=False, repr=False)
    span_id: int = field(default=0, compare=False, repr=False)
    target: Target | None = field(default=None, compare=False, repr=False)
    work: Work | None = field(default=None, compare=False, repr=False)
    driver: Driver | None = field(default=None, compare=False, repr=False)


@dataclass(slots=True, kw_only=True)
class Booking:
    """What a request comes to. Before that is decided, it is of unknown outcome.

    ``charged``: nano-dollars the key pays, for ``usage``.
    ``upstream_cost``: nano-dollars of all attempts, for any reason.
    ``confidence``: of ``charged``; ``unknown`` if the price is not known, or whether anything was bought.
    ``in_doubt``: nano-dollars of subrequests of unknown outcome, beside others that are settled: the key is not charged
        for them, but they stay reserved.
    ``price``, ``terms``: the price that ``charged`` was worked out by, and what the answer said of itself; of the first
        subrequest that served, if there are several.
    ``above_bound``: whether what the upstream says it did comes to more than was held for it, so that ``charged`` is no
        more than that, and the rest is the gateway's to bear.
    """

    charged: int = 0
    usage: Usage = NO_USAGE
    upstream_cost: int = 0
    confidence: Confidence = "unknown"
    state: State = "unknown"
    in_doubt: int = 0
    price: Price | None = field(default=None, compare=False, repr=False)
    terms: Terms = field(default=USUAL_TERMS, compare=False)
    above_bound: bool = field(default=False, compare=False)

    @property
    def unpriced(self) -> bool:
        """Whether work was done that has no known price, wholly or in part."""
        return self.state == "settled" and self.confidence == "unknown"

    @property
    def doubtful(self) -> int:
        """Nano-dollars that the key may still turn out to owe: for an exchange of unknown outcome all that its attempts
        had at stake, else what is in doubt beside the settled part.
        """
        return self.upstream_cost if self.state == "unknown" else self.in_doubt


@dataclass(slots=True)
class ExchangeRecord(Booking):
    """One request, from its intent to its settlement; ``id`` is the exchange's.

    The intent, committed before an upstream is called:
    ``at_ns``: Unix time in nanoseconds. ``model``: as requested. ``reserved``: nano-dollars.
    ``paid``: images and tasks; their intent is synced to disk (FULL). ``pieces``: how many are bought each by itself.
    ``paid_by``: the exchange that paid for what this one was given; None for one of its own.
    ``claims``: what it asks of budgets that the store counts; None if it asks nothing, or the store counts none.

    The settlement, one per intent; a second one with the same id changes nothing:
    ``settled_ns``: Unix time in nanoseconds. ``status``: the HTTP status the client was (or would have been) given.
    ``upstream``, ``endpoint``, ``credential``: of its last attempt; None if there was none.
    ``booked``: what it was booked at; None if nothing was. ``answered_model``: the model that the upstream says it was,
    if it is not the one it was asked for. ``tier``: the service tier that served it; empty for none.

    What the metrics and the log tell besides; times are seconds:
    ``listed_model``: as metrics name it; None for none. ``began``: by the monotonic clock.
    ``duration``: from its arrival to its end; None if it was refused before it had come whole.
    ``first_content``: from its arrival to the first meaningful bytes; None if there were none.
    ``overhead``: the gateway's own time, without waiting for upstreams; None if not measured.
    ``cost``: what the key pays, in US dollars; None if that is not known. ``code``: of the error it was answered with.
    ``job``: the id of the job that it ran in, or waited for; None for none.
    ``cached``: answered with what was kept for an equal request.
    ``trace``: told how it goes; None where nothing is traced.
    ``expected``: seconds that orders like it take, when it began; None if that was not known. ``learned``: how what was
    learned changed where it began; ``preferred``: what its targets were put in another order by. Empty if nothing did.
    """

    id: str
    at_ns: int = 0
    key: str = ""
    team: str | None = None
    route: str = ""
    model: str = ""
    request_id: str = ""
    reserved: int = 0
    paid: bool = False
    pieces: int = 1
    paid_by: str | None = None
    attempts: Sequence[AttemptRecord] = ()
    settled_ns: int = 0
    status: int = 0
    upstream: str | None = None
    endpoint: str | None = None
    credential: str | None = None
    task_id: str | None = None
    booked: BookedPrice | None = None
    answered_model: str | None = None
    tier: str = field(default="", compare=False)
    listed_model: str | None = field(default=None, compare=False, repr=False)
    began: float = field(default=0.0, compare=False, repr=False)
    duration: float | None = field(default=None, compare=False, repr=False)
    first_content: float | None = field(default=None, compare=False, repr=False)
    overhead: float | None = field(default=None, compare=False, repr=False)
    cost: str | None = field(default=None, compare=False, repr=False)
    code: str | None = field(default=None, compare=False, repr=False)
    job: str | None = field(default=None, compare=False, repr=False)
    expected: float | None = field(default=None, compare=False, repr=False)
    cached: bool = field(default=False, compare=False, repr=False)
    learned: str = field(default="", compare=False, repr=False)
    preferred: str = field(default="", compare=False, repr=False)
    claims: Claims | None = field(default=None, compare=False, repr=False)
    trace: Trace | None = field(default=None, compare=False, repr=False)
