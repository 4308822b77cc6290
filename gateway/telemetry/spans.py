"""The one record of a request → its spans: one of kind SERVER for the request, one of kind CLIENT for each attempt.

Pure, and without OpenTelemetry (telemetry/otlp.py hands them to it). What is in a span is in the log or the books as
well: never what was asked or answered, never a key, an address with its query, or a word of an upstream's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal
from urllib.parse import urlsplit

from gateway.core.exchange_record import AttemptRecord, ExchangeRecord
from gateway.core.pricing.prices import usd_number
from gateway.core.trace_context import TraceContext
from gateway.core.types import OTHER, Usage
from gateway.telemetry.gen_ai import operation_of_route, operation_of_target, provider

Value = str | int | float | bool
Attributes = dict[str, Value]

LONGEST = 256
"""Characters of an attribute that a client or an upstream chose: a model's name."""

_NS = 1_000_000_000

_SUMS = frozenset(
    (
        *("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "gen_ai.usage.cache_read.input_tokens"),
        *("gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.reasoning.output_tokens"),
        *("gateway.attempts", "gateway.images", "gateway.cost_usd", "gateway.upstream_cost_usd"),
    )
)
"""What adds up where one request is answered by several exchanges."""

_MONEY = ("gateway.cost_usd", "gateway.upstream_cost_usd")
"""Kept in whole nano-dollars until the span is made, so that sums are exact."""


@dataclass(frozen=True, slots=True)
class Span:
    """A span that has ended. Times are Unix nanoseconds.

    ``own``: its place; ``parent``: that of the span it belongs to, ``remote`` if another program made that one.
    ``failed``: whether its status is an error. ``link``: the place of a span it has to do with.
    """

    name: str
    kind: Literal["server", "client"]
    own: TraceContext
    parent: TraceContext | None
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Value]
    failed: bool = False
    remote: bool = False
    link: TraceContext | None = None


@dataclass(frozen=True, slots=True)
class RequestEnd:
    """What is known of a request when it has been answered.

    ``route``: its path, parameters in braces; None where there is none. ``status``: what was sent, 499 if the client
    left before. ``gone``: it left before its answer was whole. ``code``: of the error it was refused with.
    ``key``, ``team``: the virtual key's names. ``model``: as the client named it.
    """

    method: str
    route: str | None
    status: int
    gone: bool
    ended_ns: int
    request_id: str
    code: str | None = None
    key: str | None = None
    team: str | None = None
    model: str | None = None


@dataclass(slots=True)
class Told:
    """What the exchanges of a request have told so far. ``status``: the worst that any ended with; ``code``: of the
    first error; ``model``: the first one, as the configuration names it, or ``other``.
    """

    attributes: Attributes = field(default_factory=dict)
    status: int = 0
    code: str | None = None
    model: str = OTHER

    def add(self, record: ExchangeRecord, model: str) -> None:
        """An exchange has ended."""
        if self.model == OTHER:
            self.model = model
        for name, value in exchange_attributes(record).items():
            if name in _SUMS and name in self.attributes:
                self.attributes[name] = self.attributes[name] + value  # type: ignore[operator]
            else:
                self.attributes.setdefault(name, value)
        self.status = max(self.status, record.status)
        self.code = self.code or record.code


def request_span(
    own: TraceContext,
    parent: TraceContext | None,
    began_ns: int,
    end: RequestEnd,
    told: Told,
    link: TraceContext | None,
) -> Span:
    """The span of a request that has ended."""
    attributes: Attributes = {
        "http.request.method": end.method,
        "gateway.request_id": end.request_id,
        **told.attributes,
    }
    attributes["http.response.status_code"] = end.status
    for name in _MONEY:
        if name in attributes:
            attributes[name] = usd_number(int(attributes[name]))
    if end.route is not None:
        attributes["http.route"] = end.route
        if "{" not in end.route:
            attributes["url.path"] = end.route
    if end.key is not None:
        attributes["gateway.key"] = end.key
        if end.team is not None:
            attributes["gateway.team"] = end.team
    if end.model is not None:
        attributes.setdefault("gen_ai.request.model", end.model[:LONGEST])
    worst = max(end.status, told.status)
    error = end.code or told.code or ("client_gone" if end.gone else str(worst) if worst >= 400 else "")
    attributes["gateway.outcome"] = error or "ok"
    if error:
        attributes["error.type"] = error
    name = _request_name(end, told)
    return Span(
        name, "server", own, parent, began_ns, max(began_ns, end.ended_ns), attributes, worst >= 500, True, link
    )


def _request_name(end: RequestEnd, told: Told) -> str:
    """By the conventions of GenAI where the configuration names the model, else by those of HTTP: names are to be few,
    and any other model is any text of a client's.
    """
    if told.model != OTHER:
        return f"{told.attributes['gen_ai.operation.name']} {told.model}"
    return f"{end.method} {end.route}" if end.route is not None else end.method


def exchange_attributes(record: ExchangeRecord) -> Attributes:
    """What the span of a request says of its exchange; money in nano-dollars."""
    served = next((one for one in reversed(record.attempts) if one.outcome == "ok"), None)
    last = served or (record.attempts[-1] if record.attempts else None)
    said: dict[str, Value | None] = {
        "gen_ai.operation.name": operation_of_route(record.route),
        "gen_ai.request.model": record.model[:LONGEST],
        "gen_ai.provider.name": None if last is None else provider(last.target),
        "gen_ai.response.model": None if served is None else record.answered_model or _model_of(served),
        "gen_ai.response.time_to_first_chunk": record.first_content,
        **(_usage(record.usage) if record.attempts else {}),
        "gateway.key": record.key,
        "gateway.team": record.team,
        "gateway.exchange": record.id,
        "gateway.attempts": len(record.attempts),
        "gateway.upstream": record.upstream,
        "gateway.images": record.usage.images or None,
        "gateway.cost_usd": None if record.confidence == "unknown" else record.charged,
        "gateway.cost_confidence": record.confidence,
        "gateway.upstream_cost_usd": record.upstream_cost if record.attempts else None,
        "gateway.tier": record.tier or None,
        "gateway.cache": "hit" if record.cached else None,
        "gateway.job": record.job,
        "gateway.joined": True if record.paid_by is not None else None,
        "gateway.paid_by": record.paid_by,
    }
    return {name: value for name, value in said.items() if value is not None}


def attempt_spans(record: ExchangeRecord, request: TraceContext, model: str) -> Iterator[Span]:
    """The spans of an exchange's attempts. ``request``: the place of their request's. ``model``: as the configuration
    names it, or ``other``.
    """
    of_clients = model == OTHER or model.endswith("*")  # then what the upstream is asked for is a client's text
    for place, attempt in enumerate(record.attempts):
        if not attempt.span_id:
            continue
        later = record.attempts[place + 1 :]
        followed = next((one for one in later if one.subrequest == attempt.subrequest), None)
        target = attempt.target
        operation = operation_of_target("chat" if target is None else target.operation)
        own = TraceContext(request.trace_id, attempt.span_id, request.flags, request.state)
        start = _at(record, attempt.began)
        end = _at(record, attempt.ended) if attempt.ended else record.settled_ns
        failed = attempt.outcome != "ok" and not attempt.outcome.startswith("client_")
        name = operation if target is None or of_clients else f"{operation} {target.model}"
        said = _attempt_attributes(attempt, operation, followed)
        yield Span(name, "client", own, request, start, max(start, end), said, failed)


def _attempt_attributes(attempt: AttemptRecord, operation: str, followed: AttemptRecord | None) -> Attributes:
    """``followed``: the attempt that was made instead; None for none."""
    host, port = place_of(attempt.endpoint)
    ok, target = attempt.outcome == "ok", attempt.target
    said: dict[str, Value | None] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": provider(target),
        "gen_ai.request.model": None if target is None else target.model,
        "gen_ai.response.model": _model_of(attempt) if ok else None,
        "server.address": host,
        "server.port": port,
        "http.response.status_code": attempt.status,
        "http.request.resend_count": attempt.number - 1 or None,
        "error.type": None if ok else attempt.outcome,
        **(_usage(attempt.usage) if attempt.usage is not None else {}),
        "gateway.attempt": attempt.number,
        "gateway.upstream": attempt.upstream,
        "gateway.upstream_key": attempt.credential,
        "gateway.outcome": attempt.outcome,
        "gateway.phase": int(attempt.phase),
        "gateway.upstream_cost_usd": usd_number(attempt.cost),
        "gateway.cost_reason": attempt.reason if attempt.reason != "billed" else None,
    }
    if followed is not None:
        said["gateway.failover.reason"] = attempt.outcome
        said["gateway.failover.to"] = f"{followed.upstream} {place_of(followed.endpoint)[0]}"
    return {name: value for name, value in said.items() if value is not None}


def _usage(usage: Usage) -> dict[str, Value | None]:
    return {
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_input_tokens or None,
        "gen_ai.usage.cache_write.input_tokens": usage.cache_write_tokens or None,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens or None,
    }


def _model_of(attempt: AttemptRecord) -> str | None:
    """The model that answered, as the upstream names it, else as it was asked for."""
    named = attempt.terms.model or (None if attempt.target is None else attempt.target.model)
    return None if named is None else named[:LONGEST]


def _at(record: ExchangeRecord, moment: float) -> int:
    """A moment of the monotonic clock as Unix time in nanoseconds."""
    return record.settled_ns - int((record.began + (record.duration or 0.0) - moment) * _NS)


@lru_cache(maxsize=1024)
def place_of(endpoint: str) -> tuple[str, int]:
    """Host and port of an endpoint's URL."""
    split = urlsplit(endpoint)
    return split.hostname or "", split.port or (443 if split.scheme == "https" else 80)
