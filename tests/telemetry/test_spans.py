"""The one record of a request becomes its spans: what they say, when they begin and end, and what is never in them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.core.exchange_record import AttemptRecord, ExchangeRecord
from gateway.core.trace_context import SAMPLED, TraceContext
from gateway.core.types import Credential, Endpoint, Phase, Target, Upstream, Usage
from gateway.telemetry.gen_ai import operation_of_route
from gateway.telemetry.spans import RequestEnd, Span, Told, attempt_spans, request_span

CHAT = "/v1/chat/completions"
API = Endpoint("https://api.piapi.ai", "https", "api.piapi.ai", 443)
PROXY = Endpoint("http://proxy.piapi.ai:8080/base", "http", "proxy.piapi.ai", 8080, "/base")
PIAPI = Upstream("piapi", "piapi", (API, PROXY), (Credential("first", "the-key-itself"),))
GPT = Target(PIAPI, "gpt-4o")

AT = 1_700_000_000_000_000_000
"""When the exchange was settled, Unix nanoseconds; it had come three seconds before."""

OWN = TraceContext(7, 8, SAMPLED, "vendor=1")


def attempt(**fields: Any) -> AttemptRecord:
    usual: dict[str, Any] = {"outcome": "ok", "phase": Phase.FORWARDED, "status": 200, "detail": "", "span_id": 9}
    times = {"began": 100.5, "ended": 103.0}
    return AttemptRecord("piapi", API.url, "first", target=GPT, **{**usual, **times, **fields})


def record(*attempts: AttemptRecord, **fields: Any) -> ExchangeRecord:
    usual: dict[str, Any] = {
        **{"key": "alice", "team": "growth", "route": CHAT, "model": "gpt-4o", "listed_model": "gpt-4o"},
        **{"began": 100.0, "duration": 3.0, "settled_ns": AT, "status": 200, "upstream": "piapi"},
        **{"usage": Usage(12, 4, 7), "charged": 250_000, "upstream_cost": 200_000, "confidence": "measured"},
        **{"state": "settled", "first_content": 0.75, "cost": "0.00025"},
    }
    return ExchangeRecord("x1", attempts=attempts, **{**usual, **fields})


def ended(**fields: Any) -> RequestEnd:
    return replace(
        RequestEnd("POST", CHAT, 200, False, AT, "req_1", key="alice", team="growth", model="gpt-4o"), **fields
    )


def span_of(
    end: RequestEnd, *records: ExchangeRecord, parent: TraceContext | None = None, model: str = "gpt-4o"
) -> Span:
    told = Told()
    for one in records:
        told.add(one, model)
    return request_span(OWN, parent, AT - 3_000_000_000, end, told, None)


def test_a_request_that_went_well() -> None:
    parent = TraceContext(7, 1, SAMPLED)
    span = span_of(ended(), record(attempt()), parent=parent)
    assert (span.name, span.kind, span.failed) == ("chat gpt-4o", "server", False)
    assert (span.own, span.parent, span.remote) == (OWN, parent, True)
    assert span.end_ns - span.start_ns == 3_000_000_000
    assert span.attributes == {
        "http.request.method": "POST",
        "http.route": CHAT,
        "url.path": CHAT,
        "http.response.status_code": 200,
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "piapi",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o",
        "gen_ai.response.time_to_first_chunk": 0.75,
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 7,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gateway.request_id": "req_1",
        "gateway.key": "alice",
        "gateway.team": "growth",
        "gateway.exchange": "x1",
        "gateway.attempts": 1,
        "gateway.upstream": "piapi",
        "gateway.cost_usd": 0.00025,
        "gateway.cost_confidence": "measured",
        "gateway.upstream_cost_usd": 0.0002,
        "gateway.outcome": "ok",
    }


def test_an_attempt_lies_within_its_request() -> None:
    [span] = attempt_spans(record(attempt()), OWN, "gpt-4o")
    assert (span.name, span.kind, span.failed, span.remote) == ("chat gpt-4o", "client", False, False)
    assert span.own == TraceContext(7, 9, SAMPLED, "vendor=1")
    assert span.parent == OWN
    assert (span.start_ns, span.end_ns) == (AT - 2_500_000_000, AT)
    said = span.attributes
    assert (said["server.address"], said["server.port"], said["gateway.upstream_key"]) == ("api.piapi.ai", 443, "first")
    assert said["http.response.status_code"] == 200
    assert "error.type" not in said
    assert "http.request.resend_count" not in said


@pytest.mark.parametrize("model", ["other", "gpt-4o*"])
def test_a_name_that_a_client_chose_names_no_span(model: str) -> None:
    """Collectors count spans by their names: they are to be few."""
    [span] = attempt_spans(record(attempt()), OWN, model)
    assert span.name == "chat"
    assert span.attributes["gen_ai.request.model"] == "gpt-4o"
    named = {"other": f"POST {CHAT}", "gpt-4o*": "chat gpt-4o*"}
    assert span_of(ended(), record(attempt()), model=model).name == named[model]


def test_each_attempt_says_why_the_next_one_was_made_and_where() -> None:
    first = attempt(outcome="upstream_5xx", phase=Phase.REJECTED, status=503, ended=101.0, detail="Oh dear, sk-123456")
    second = attempt(span_id=10, number=2, began=101.25)
    second.endpoint = PROXY.url
    spans = list(attempt_spans(record(first, second), OWN, "gpt-4o"))
    assert [span.failed for span in spans] == [True, False]
    assert spans[0].attributes["error.type"] == "upstream_5xx"
    assert spans[0].attributes["gateway.failover.reason"] == "upstream_5xx"
    assert spans[0].attributes["gateway.failover.to"] == "piapi proxy.piapi.ai"
    assert spans[0].end_ns < spans[1].start_ns
    assert spans[1].attributes["server.port"] == 8080
    assert spans[1].attributes["http.request.resend_count"] == 1
    assert "Oh dear" not in repr(spans), "what an upstream said is in the log, masked; here it is nowhere"


def test_of_parts_side_by_side_none_is_another_ones_failover() -> None:
    failed = attempt(outcome="upstream_5xx", subrequest=0)
    [first, _] = attempt_spans(record(failed, attempt(span_id=10, subrequest=1)), OWN, "gpt-4o")
    assert "gateway.failover.to" not in first.attributes


def test_an_attempt_that_a_leaving_client_ended_is_no_error() -> None:
    [span] = attempt_spans(record(attempt(outcome="client_gone_stream")), OWN, "gpt-4o")
    assert span.attributes["error.type"] == "client_gone_stream"
    assert not span.failed


def test_an_attempt_without_an_end_ends_with_its_request() -> None:
    [span] = attempt_spans(record(attempt(ended=0.0)), OWN, "gpt-4o")
    assert span.end_ns == AT


@pytest.mark.parametrize(
    ("end", "told", "name", "outcome", "failed"),
    [
        (
            ended(status=401, code="invalid_api_key", key=None, team=None, model=None),
            None,
            f"POST {CHAT}",
            "invalid_api_key",
            False,
        ),
        (ended(status=404, code="model_not_found", model="no-such"), None, f"POST {CHAT}", "model_not_found", False),
        (ended(method="GET", route=None, status=404, code="unknown_url", key=None), None, "GET", "unknown_url", False),
        (ended(method="GET", route="/v1/models/{model}", model=None), None, "GET /v1/models/{model}", "ok", False),
        (
            ended(status=502),
            record(attempt(outcome="upstream_5xx"), status=502, code="upstream_error"),
            "chat gpt-4o",
            "upstream_error",
            True,
        ),
        (
            ended(status=200),
            record(attempt(outcome="stream_cut"), status=502, code="upstream_error"),
            "chat gpt-4o",
            "upstream_error",
            True,
        ),
        (
            ended(status=200, gone=True),
            record(attempt(outcome="client_gone_stream"), status=499),
            "chat gpt-4o",
            "client_gone",
            False,
        ),
        (ended(status=504), None, f"POST {CHAT}", "504", True),
    ],
)
def test_how_a_request_ended(
    end: RequestEnd, told: ExchangeRecord | None, name: str, outcome: str, failed: bool
) -> None:
    span = span_of(end, *([] if told is None else [told]))
    assert (span.name, span.failed) == (name, failed)
    assert span.attributes["gateway.outcome"] == outcome
    assert span.attributes.get("error.type") == (None if outcome == "ok" else outcome)
    assert span.attributes["http.response.status_code"] == end.status, "what was sent, whatever came after"


def test_a_path_with_an_id_is_told_by_its_route_alone() -> None:
    span = span_of(ended(method="GET", route="/api/v1/task/{task_id}", model=None))
    assert span.attributes["http.route"] == "/api/v1/task/{task_id}"
    assert "url.path" not in span.attributes


def test_a_model_that_is_not_known_is_any_text_of_a_clients() -> None:
    span = span_of(ended(status=404, code="model_not_found", model="x" * 5000))
    assert span.name == f"POST {CHAT}"
    assert len(str(span.attributes["gen_ai.request.model"])) == 256


def test_what_is_not_priced_has_no_cost() -> None:
    span = span_of(ended(), record(attempt(), confidence="unknown"))
    assert "gateway.cost_usd" not in span.attributes
    assert span.attributes["gateway.cost_confidence"] == "unknown"


def test_several_exchanges_of_one_request_add_up_exactly() -> None:
    picture = record(attempt(), model="gpt-image-1", usage=Usage(images=1), charged=1, first_content=None)
    span = span_of(ended(), record(attempt(), charged=2), picture, picture)
    assert span.name == "chat gpt-4o", "it is named by the first"
    assert span.attributes["gateway.cost_usd"] == 4 / 1_000_000_000
    assert (span.attributes["gateway.attempts"], span.attributes["gateway.images"]) == (3, 1 + 1)


def test_one_that_joined_says_who_paid() -> None:
    span = span_of(ended(), record(paid_by="x0", job="job_1", charged=0, usage=Usage()))
    assert (span.attributes["gateway.joined"], span.attributes["gateway.paid_by"]) == (True, "x0")
    assert (span.attributes["gateway.job"], span.attributes["gateway.cost_usd"]) == ("job_1", 0.0)


def test_an_answer_of_the_cache_has_no_attempt() -> None:
    hit = record(cached=True, charged=0, usage=Usage(), upstream=None, first_content=None)
    assert list(attempt_spans(hit, OWN, "gpt-4o")) == []
    span = span_of(ended(), hit)
    assert span.attributes["gateway.cache"] == "hit"
    assert "gen_ai.provider.name" not in span.attributes


@pytest.mark.parametrize(
    ("route", "operation"),
    [
        (CHAT, "chat"),
        ("/v1/messages", "chat"),
        ("/v1/responses", "chat"),
        ("/v1/responses/compact", "chat"),
        ("/v1/completions", "text_completion"),
        ("/v1/embeddings", "embeddings"),
        ("/v1/images/generations", "generate_content"),
        ("/v1/images/edits", "generate_content"),
        ("/api/v1/task", "generate_content"),
        ("/v1/audio/speech", "speech"),
        ("/v1/moderations", "moderations"),
    ],
)
def test_routes_have_the_conventions_names(route: str, operation: str) -> None:
    assert operation_of_route(route) == operation
