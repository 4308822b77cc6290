"""Traces: each request is given a place in one as it comes, each attempt as it begins; their spans are made at the end,
from the one record that ledger, metrics and log read (telemetry/spans.py).

All of it runs on the event loop, and nothing of it waits: who sends the spans has threads of its own. What could fail,
since a library's code takes part, runs in a turn of the loop for itself: no answer, and no row of the ledger, depends
on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Protocol

from gateway.core.chance import Randomness
from gateway.core.exchange_record import AttemptRecord, ExchangeRecord, Trace
from gateway.core.headers import Headers
from gateway.core.trace_context import RANDOM, SAMPLED, TraceContext, read_context
from gateway.telemetry.series import known
from gateway.telemetry.spans import RequestEnd, Span, Told, attempt_spans, request_span


class Sender(Protocol):
    """Who sends spans, and measures (telemetry/otlp.py). ``traces``: whether spans are sent at all."""

    @property
    def traces(self) -> bool: ...

    def samples(self, parent: TraceContext | None, trace_id: int) -> tuple[bool, str]:
        """Whether a request's spans are to be sent, and the tracestate that goes on with it."""
        ...

    def send(self, span: Span) -> None: ...
    def measure(self, record: ExchangeRecord, model: str) -> None:
        """An exchange has ended, of a request that is sampled or not. ``model``: a label, of few values."""
        ...


class Tracing:
    """The maker of traces.

    ``models``: those that the configuration names at that time. ``later``: has a call made in the loop's next turn.
    """

    def __init__(
        self,
        sender: Sender,
        randomness: Randomness,
        models: Callable[[], AbstractSet[str]],
        later: Callable[[Callable[[], None]], object],
    ) -> None:
        self.sender = sender
        self.later = later
        self._models = models
        self._randomness = randomness

    def model_of(self, record: ExchangeRecord) -> str:
        """The model as the configuration names it; ``other`` for one that only clients name."""
        return known(record.listed_model, self._models())

    def begin(self, parents: Sequence[bytes], states: Sequence[bytes], began_ns: int) -> RequestTrace:
        """A request has come.

        ``parents``, ``states``: the values of its headers ``traceparent`` and ``tracestate``. ``began_ns``: Unix time.
        """
        parent = read_context(parents, states) if parents else None
        trace_id = self._id(128) if parent is None else parent.trace_id
        flags = RANDOM if parent is None else parent.flags & RANDOM
        sampled, state = self.sender.samples(parent, trace_id)
        own = TraceContext(trace_id, self._id(64), flags | SAMPLED if sampled else flags, state)
        return RequestTrace(self, own, parent, began_ns)

    def new_span_id(self) -> int:
        return self._id(64)

    def _id(self, bits: int) -> int:
        return self._randomness.getrandbits(bits) or 1


class RequestTrace(Trace):
    """The trace of one request. Its span is sent once it has been answered and all its exchanges have ended: those of
    paid work may go on for longer.

    ``own``: the place of its span.
    """

    __slots__ = ("_began_ns", "_end", "_link", "_open", "_parent", "_told", "_tracing", "own")

    def __init__(self, tracing: Tracing, own: TraceContext, parent: TraceContext | None, began_ns: int) -> None:
        self._tracing = tracing
        self.own = own
        self._parent = parent
        self._began_ns = began_ns
        self._told = Told()
        self._link: TraceContext | None = None
        self._end: RequestEnd | None = None
        self._open = 1  # what has not ended: the request itself, and its exchanges

    def exchange_begins(self) -> None:
        self._open += 1

    def attempt_begins(self, attempt: AttemptRecord) -> Headers:
        if not self._tracing.sender.traces:
            return ()
        attempt.span_id = self._tracing.new_span_id()
        return TraceContext(self.own.trace_id, attempt.span_id, self.own.flags, self.own.state).headers

    def exchange_ended(self, record: ExchangeRecord, *, counts: bool = True) -> None:
        self._tracing.later(partial(self._tell_exchange, record, counts))

    def joins(self, paying: Trace | None) -> None:
        if isinstance(paying, RequestTrace):
            self._link = paying.own

    def request_ended(self, end: RequestEnd) -> None:
        """The request has been answered, or its client has left."""
        self._tracing.later(partial(self._tell_end, end))

    def _tell_exchange(self, record: ExchangeRecord, counts: bool) -> None:
        tracing = self._tracing
        model = tracing.model_of(record)
        try:
            if counts:
                tracing.sender.measure(record, model)
            if self.own.sampled:
                self._told.add(record, model)
                for span in attempt_spans(record, self.own, model):
                    tracing.sender.send(span)
        finally:
            self._close()

    def _tell_end(self, end: RequestEnd) -> None:
        self._end = end
        self._close()

    def _close(self) -> None:
        self._open -= 1
        if self._open or self._end is None or not self.own.sampled:
            return
        end, self._end = self._end, None  # what begins later, as a picture that a response orders, is told by its own
        self._tracing.sender.send(request_span(self.own, self._parent, self._began_ns, end, self._told, self._link))
