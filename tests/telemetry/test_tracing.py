"""A request's span is sent once: when it has been answered, and what it began has ended."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from gateway.core.exchange_record import AttemptRecord, ExchangeRecord
from gateway.core.trace_context import TraceContext, read_context
from gateway.telemetry.spans import RequestEnd, Span
from gateway.telemetry.tracing import RequestTrace, Tracing

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = [f"00-{TRACE}-{SPAN}-01".encode()]
MODELS = frozenset(("gpt-4o",))
END = RequestEnd("POST", "/v1/chat/completions", 200, False, 2_000, "req_1")


@dataclass
class Sent:
    """Keeps what it is given. ``all_of_them``: whether every request is sampled, else those whose client says so."""

    all_of_them: bool = True
    traces: bool = True
    spans: list[Span] = field(default_factory=list)
    measured: list[ExchangeRecord] = field(default_factory=list)
    models: list[str] = field(default_factory=list)

    def samples(self, parent: TraceContext | None, trace_id: int) -> tuple[bool, str]:
        sampled = self.all_of_them if parent is None else parent.sampled
        return sampled, "" if parent is None else parent.state

    def send(self, span: Span) -> None:
        self.spans.append(span)

    def measure(self, record: ExchangeRecord, model: str) -> None:
        self.measured.append(record)
        self.models.append(model)


def begin(sent: Sent, *parents: bytes, states: tuple[bytes, ...] = ()) -> RequestTrace:
    return Tracing(sent, random.Random(1), lambda: MODELS, lambda work: work()).begin(parents, states, 1_000)


def exchange(trace: RequestTrace, model: str = "gpt-4o") -> ExchangeRecord:
    attempt = AttemptRecord("piapi", "https://api.piapi.ai", "first", outcome="ok")
    trace.exchange_begins()
    trace.attempt_begins(attempt)
    record = ExchangeRecord("x1", route="/v1/chat/completions", model=model, attempts=[attempt], settled_ns=2_000)
    record.listed_model = model
    return record


def test_a_trace_goes_on_from_the_clients_to_the_upstream() -> None:
    sent = Sent()
    trace = begin(sent, *PARENT, states=(b"vendor=1",))
    attempt = AttemptRecord("piapi", "https://api.piapi.ai", "first")
    trace.exchange_begins()
    headers = dict(trace.attempt_begins(attempt))
    upstream = read_context([headers[b"traceparent"]])
    assert upstream is not None
    assert upstream.trace_id == int(TRACE, 16)
    assert upstream.span_id == attempt.span_id
    assert upstream.span_id not in (int(SPAN, 16), trace.own.span_id), "each has a place of its own"
    assert headers[b"tracestate"] == b"vendor=1"


def test_a_trace_begins_here_if_the_client_has_none() -> None:
    first, second = begin(Sent()), begin(Sent(), *PARENT, *PARENT)
    assert first.own.trace_id
    assert second.own.trace_id != int(TRACE, 16), "two headers are as if there was none"
    assert first.own.flags == 3, "sampled, and drawn at random"


def test_the_request_is_told_last() -> None:
    sent = Sent()
    trace = begin(sent)
    record = exchange(trace)
    trace.exchange_ended(record)
    assert [span.kind for span in sent.spans] == ["client"]
    trace.request_ended(END)
    assert [span.kind for span in sent.spans] == ["client", "server"]
    assert sent.spans[0].parent == sent.spans[1].own
    assert sent.measured == [record]


def test_paid_work_that_outlives_its_connection_is_in_its_requests_span() -> None:
    sent = Sent()
    trace = begin(sent)
    record = exchange(trace)
    trace.request_ended(END)
    assert sent.spans == []
    trace.exchange_ended(record)
    assert [span.kind for span in sent.spans] == ["client", "server"]
    assert sent.spans[1].end_ns == END.ended_ns, "it lasted until it was answered"
    assert sent.spans[1].attributes["gen_ai.request.model"] == "gpt-4o"


def test_what_begins_after_the_end_has_its_attempts_but_no_second_request() -> None:
    sent = Sent()
    trace = begin(sent)
    trace.request_ended(END)
    trace.exchange_ended(exchange(trace))
    assert [span.kind for span in sent.spans] == ["server", "client"]


def test_a_request_that_joined_is_linked_with_the_one_that_paid() -> None:
    sent = Sent()
    paying, joining = begin(sent), begin(sent, *PARENT)
    joining.joins(paying)
    joining.request_ended(END)
    assert sent.spans[0].link == paying.own
    other = begin(sent)
    other.joins(None)
    other.request_ended(END)
    assert sent.spans[1].link is None, "the one that paid was before the last start, or at another gateway"


def test_what_is_not_sampled_is_not_sent_and_its_upstream_is_told_so() -> None:
    sent = Sent()
    trace = begin(sent, f"00-{TRACE}-{SPAN}-00".encode())
    record = exchange(trace)
    assert dict(trace.attempt_begins(record.attempts[0]))[b"traceparent"].endswith(b"-00")
    trace.exchange_ended(record)
    trace.request_ended(END)
    assert sent.spans == []
    assert sent.measured == [record], "metrics are of all requests"


def test_where_only_metrics_are_sent_no_trace_goes_on() -> None:
    sent = Sent(all_of_them=False, traces=False)
    trace = begin(sent, f"00-{TRACE}-{SPAN}-00".encode())
    assert trace.attempt_begins(AttemptRecord("piapi", "https://api.piapi.ai", "first")) == ()


def test_only_models_of_the_configuration_name_spans_and_series() -> None:
    sent = Sent()
    for model in ("gpt-4o", "a-clients-own-words"):
        trace = begin(sent)
        trace.exchange_ended(exchange(trace, model))
        trace.request_ended(END)
    assert [span.name for span in sent.spans if span.kind == "server"] == ["chat gpt-4o", "POST /v1/chat/completions"]
    assert sent.spans[-1].attributes["gen_ai.request.model"] == "a-clients-own-words"
    assert sent.models == ["gpt-4o", "other"]


def test_what_goes_wrong_with_a_span_goes_wrong_in_a_turn_of_its_own() -> None:
    """No answer and no row of the ledger waits for it, and the request's own span is sent all the same."""

    class Broken(Sent):
        def measure(self, record: ExchangeRecord, model: str) -> None:
            raise RuntimeError("a sampler, a resource detector, a bug")

    turns: list[Callable[[], None]] = []
    sent = Broken()
    trace = Tracing(sent, random.Random(1), lambda: MODELS, turns.append).begin((), (), 1_000)
    trace.exchange_ended(exchange(trace))
    trace.request_ended(END)
    assert sent.spans == []
    with pytest.raises(RuntimeError):
        turns[0]()
    turns[1]()
    assert [span.kind for span in sent.spans] == ["server"]


def test_a_request_that_is_told_to_come_again_is_no_figure() -> None:
    sent = Sent()
    trace = begin(sent)
    trace.exchange_ended(exchange(trace), counts=False)
    assert sent.measured == []
