"""Traces end to end: a client's trace goes through the gateway to the upstream, and a collector gets a span a request
and a span an attempt, in which nothing is that was asked, answered or secret.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import openai
import pytest
import trustme

from tests.collector import Collector, SeenSpan

from .conftest import StartGateway
from .flux import asked, created
from .harness import ALICE, PROMPT, SECRETS, Rig, chat_body, eventually
from .moments import connect, nothing_in_flight, start

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=of-the-client"}
GENERATIONS = "/v1/images/generations"
KEY = "collector-key-0123456789"
ANSWER = b"sandbox"
"""A word of every answer of the sandbox's."""


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is to be sent waits for no full batch; metrics come when the gateway ends."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "30")
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_SDK_DISABLED", "OTEL_TRACES_SAMPLER", "OTEL_SERVICE_NAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as running:
        yield running


def settings(collector: Collector, more: str = "") -> str:
    return f"telemetry: {{otlp: {collector.url}, headers: {{authorization: Bearer {KEY}}}}}\n{more}"


@pytest.fixture
async def traced(gateway: StartGateway, collector: Collector) -> AsyncIterator[Rig]:
    """A gateway that traces. At the end nothing is in what was sent that must not be."""
    rig = await gateway(settings(collector))
    yield rig
    await rig.gateway.services.gate.empty()
    await rig.gateway._telemetry.close()
    seen = collector.bytes_seen
    assert seen
    assert not [secret for secret in SECRETS if secret.encode() in seen]
    assert PROMPT.encode() not in seen
    assert ANSWER not in seen.replace(b"Sandbox", b"")


def sent_upstream(rig: Rig) -> list[str]:
    """``traceparent`` of every request that the sandbox got, flags included."""
    return [(request.get(b"traceparent") or b"").decode() for request in rig.sandbox.requests]


def check_tree(spans: list[SeenSpan]) -> None:
    """One trace, in which each attempt belongs to the request and lies within its time."""
    request, *attempts = spans
    assert {span.trace for span in spans} == {request.trace}
    for attempt in attempts:
        assert attempt.parent == request.id
        assert request.start <= attempt.start <= attempt.end


async def test_a_chat_of_the_sdk_is_a_span_of_the_request_and_one_of_the_attempt(
    traced: Rig, collector: Collector
) -> None:
    answer = await traced.openai().chat.completions.with_raw_response.create(
        model="gpt-4o", messages=[{"role": "user", "content": PROMPT}]
    )

    request, attempt = spans = await collector.spans(2)
    check_tree(spans)
    row = await traced.row()
    assert (request.name, request.kind, request.status) == ("chat gpt-4o", "server", "unset")
    assert request.parent == "", "the trace began here"
    said = request.attributes
    assert said["http.route"] == said["url.path"] == "/v1/chat/completions"
    assert (said["http.request.method"], said["http.response.status_code"]) == ("POST", 200)
    assert (said["gen_ai.operation.name"], said["gen_ai.provider.name"]) == ("chat", "piapi")
    assert said["gen_ai.request.model"] == "gpt-4o"
    assert said["gateway.request_id"] == answer.headers["x-request-id"] == row.request_id
    assert (said["gateway.key"], said["gateway.team"]) == ("alice", "growth")
    assert said["gateway.cost_usd"] == row.charged / 1e9
    usage = answer.parse().usage
    assert usage is not None
    assert said["gen_ai.usage.input_tokens"] == usage.prompt_tokens
    assert said["gen_ai.usage.output_tokens"] == usage.completion_tokens
    assert said["gateway.outcome"] == "ok"
    assert (attempt.name, attempt.kind, attempt.status) == ("chat gpt-4o", "client", "unset")
    assert attempt.attributes["server.address"] == "127.0.0.1"
    assert f"127.0.0.1:{attempt.attributes['server.port']}" in traced.sandbox.urls["api"]
    assert attempt.end <= request.end
    assert sent_upstream(traced) == [f"{attempt.traceparent}03"]
    resource = request.resource
    assert (resource["service.name"], resource["service.version"]) == ("piapi-gateway", "0.1.0")
    assert resource["service.instance.id"] == traced.gateway.services.gateway_id
    assert collector.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert collector.requests[0].path == "/v1/traces"


async def test_a_stream_says_when_its_first_words_came(traced: Rig, collector: Collector) -> None:
    stream = await traced.openai().chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": PROMPT}], stream=True
    )
    async for _ in stream:
        pass
    request, _ = await collector.spans(2)
    assert 0 < request.attributes["gen_ai.response.time_to_first_chunk"] <= (request.end - request.start) / 1e9


class TestTheClientsTrace:
    async def test_goes_on_here_and_upstream(self, traced: Rig, collector: Collector) -> None:
        await traced.chat(headers=PARENT)
        request, attempt = spans = await collector.spans(2)
        check_tree(spans)
        assert (request.trace, request.parent) == (TRACE, SPAN)
        assert sent_upstream(traced) == [f"{attempt.traceparent}01"]
        assert traced.sandbox.requests[0].get(b"tracestate") == b"vendor=of-the-client"
        assert request.state == attempt.state == "vendor=of-the-client"

    async def test_that_is_not_recorded_is_not_recorded_here(self, traced: Rig, collector: Collector) -> None:
        await traced.chat(headers={"traceparent": f"00-{TRACE}-{SPAN}-00"})
        await traced.chat(headers=PARENT)
        spans = await collector.spans(2)
        assert {span.parent for span in spans if span.kind == "server"} == {SPAN}
        first, _ = sent_upstream(traced)
        assert first.startswith(f"00-{TRACE}-")
        assert first.endswith("-00")

    @pytest.mark.parametrize("parent", ["garbage", f"00-{TRACE.upper()}-{SPAN}-01", f"00-{'0' * 32}-{SPAN}-01"])
    async def test_that_makes_no_sense_is_none(self, traced: Rig, collector: Collector, parent: str) -> None:
        answer = await traced.chat(headers={"traceparent": parent, "tracestate": "vendor=1"})
        assert answer.status == 200
        request, _ = await collector.spans(2)
        assert request.trace != TRACE
        assert request.parent == ""
        assert traced.sandbox.requests[0].get(b"tracestate") is None

    async def test_goes_nowhere_if_nothing_is_traced(self, rig: Rig) -> None:
        await rig.chat(headers=PARENT)
        assert rig.sandbox.requests[0].get(b"traceparent") is None
        assert rig.sandbox.requests[0].get(b"tracestate") is None


async def test_each_host_that_was_asked_has_a_span_of_its_own(traced: Rig, collector: Collector) -> None:
    """The first says what it failed with and where the request went on; each host was told its own."""
    traced.sandbox.script("server_error", role="api")

    answer = await traced.chat(headers=PARENT)

    assert answer.header("x-gateway-attempts") == "2"
    request, first, second = spans = await collector.spans(3)
    check_tree(spans)
    assert sent_upstream(traced) == [f"{first.traceparent}01", f"{second.traceparent}01"]
    [failed, _] = (await traced.row()).outcomes
    assert (first.status, first.attributes["error.type"]) == ("error", failed)
    assert first.attributes["gateway.failover.reason"] == failed
    assert first.attributes["gateway.failover.to"].startswith("piapi ")
    assert (second.status, second.attributes["gateway.outcome"]) == ("unset", "ok")
    assert second.attributes["http.request.resend_count"] == 1
    assert first.end <= second.start
    assert (request.status, request.attributes["gateway.attempts"]) == ("unset", 2)


async def test_the_polls_of_a_task_belong_to_its_attempt(traced: Rig, collector: Collector) -> None:
    await traced.openai().images.generate(model="flux-dev", prompt=PROMPT)
    request, attempt = spans = await collector.spans(2)
    check_tree(spans)
    assert (request.name, attempt.name) == ("generate_content flux-dev", "generate_content Qubico/flux1-dev")
    assert len(created(traced)) == 1
    assert len(asked(traced)) > 1
    of_the_task = {request.get(b"traceparent") for request in (*created(traced), *asked(traced))}
    assert of_the_task == {f"{attempt.traceparent}03".encode()}
    assert request.attributes["gateway.images"] == 1
    assert str(request.attributes["gateway.job"]).startswith("job_")


async def test_a_picture_by_chat(traced: Rig, collector: Collector) -> None:
    await traced.openai().images.generate(model="gpt-4o-image", prompt=PROMPT)
    request, attempt = spans = await collector.spans(2)
    check_tree(spans)
    assert request.attributes["gateway.cost_usd"] == 0.02
    assert attempt.attributes["gen_ai.request.model"] == "gpt-4o-image"


class TestOtherApis:
    """They are asked as chats, or buy pictures on the way: one request span, and a span for each that was asked."""

    async def test_a_response(self, traced: Rig, collector: Collector) -> None:
        await traced.openai().responses.create(model="gpt-4o", input=PROMPT)
        request, attempt = spans = await collector.spans(2)
        check_tree(spans)
        assert (request.name, request.attributes["http.route"]) == ("chat gpt-4o", "/v1/responses")
        assert attempt.name == "chat gpt-4o"

    async def test_a_response_in_the_background(self, traced: Rig, collector: Collector) -> None:
        traced.sandbox.script("slow;delay=3", model="gpt-4o")
        begun = await traced.openai().responses.create(model="gpt-4o", input=PROMPT, background=True)
        spans = await collector.spans(2)
        check_tree(spans)
        request, attempt = spans
        assert begun.status in ("queued", "in_progress")
        assert request.attributes["http.response.status_code"] == 200
        assert request.attributes["gen_ai.usage.output_tokens"] > 0, "it says what came of it"
        assert request.end < attempt.end

    async def test_claudes_messages(self, traced: Rig, collector: Collector) -> None:
        order = {"model": "gpt-4o", "max_tokens": 100, "messages": [{"role": "user", "content": PROMPT}]}
        answer = await traced.post(json.dumps(order).encode(), target="/v1/messages")
        assert answer.status == 200
        request, _ = spans = await collector.spans(2)
        check_tree(spans)
        assert (request.name, request.attributes["http.route"]) == ("chat gpt-4o", "/v1/messages")

    async def test_embeddings(self, traced: Rig, collector: Collector) -> None:
        await traced.openai().embeddings.create(model="text-embedding-3-small", input=PROMPT)
        request, attempt = await collector.spans(2)
        assert request.name == attempt.name == "embeddings text-embedding-3-small"


async def test_several_pictures_have_an_attempt_each(traced: Rig, collector: Collector) -> None:
    await traced.openai().images.generate(model="gpt-4o-image", prompt=PROMPT, n=2)
    request, *attempts = spans = await collector.spans(3)
    check_tree(spans)
    assert len({one.id for one in attempts}) == 2
    assert request.attributes["gateway.images"] == 2


async def test_an_answer_of_the_cache_asks_none(gateway: StartGateway, collector: Collector) -> None:
    rig = await gateway(settings(collector, "models: {gpt-4o: {cache: {ttl: 1h}}}"))
    for _ in range(2):
        assert (await rig.chat(temperature=0)).status == 200
    spans = await collector.spans(3)
    [hit] = [span for span in spans if span.attributes.get("gateway.cache") == "hit"]
    assert (hit.name, hit.attributes["gateway.cost_usd"]) == ("chat gpt-4o", 0.0)
    assert not [span for span in spans if span.parent == hit.id]


async def test_the_environments_sampler_decides(
    gateway: StartGateway, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    rig = await gateway(settings(collector))
    await rig.chat()
    await rig.chat(headers=PARENT)
    request, _ = await collector.spans(2)
    assert request.trace == TRACE, "the client's word goes before"


async def test_a_variable_that_makes_no_sense_is_told(
    gateway: StartGateway, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "sometimes")
    rig = await gateway(settings(collector))
    [line] = await rig.log_lines("telemetry_settings")
    assert "sometimes" in line["message"]


class TestRefused:
    async def test_for_its_key(self, traced: Rig, collector: Collector) -> None:
        with pytest.raises(openai.AuthenticationError):
            await traced.openai(api_key="gw-wrong-key-000111222").models.list()
        [span] = await collector.spans(1)
        assert (span.name, span.status) == ("GET /v1/models", "unset")
        assert span.attributes["http.response.status_code"] == 401
        assert span.attributes["error.type"] == "invalid_api_key"
        assert "gateway.key" not in span.attributes
        assert b"gw-wrong-key-000111222" not in collector.bytes_seen

    async def test_for_its_model(self, gateway: StartGateway, collector: Collector) -> None:
        rig = await gateway(settings(collector, "default_route: []"))
        with pytest.raises(openai.NotFoundError):
            await rig.openai().chat.completions.create(model="no-such", messages=[{"role": "user", "content": PROMPT}])
        [span] = await collector.spans(1)
        assert (span.name, span.attributes["error.type"]) == ("POST /v1/chat/completions", "model_not_found")
        assert (span.attributes["gateway.key"], span.attributes["gen_ai.request.model"]) == ("alice", "no-such")

    async def test_for_its_body(self, traced: Rig, collector: Collector) -> None:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {ALICE}\r\n"
        reader, writer = await connect(traced)
        writer.write(f"{head}transfer-encoding: chunked\r\n\r\nZZZ\r\n".encode())
        assert b" 400 " in await reader.readline()
        writer.close()
        [span] = await collector.spans(1)
        assert (span.attributes["http.response.status_code"], span.attributes["error.type"]) == (400, "malformed_http")

    async def test_for_its_address(self, traced: Rig, collector: Collector) -> None:
        await traced.post(chat_body(), target="/v1/nothing/secret-in-a-path?key=secret-in-a-query")
        [span] = await collector.spans(1)
        assert (span.name, span.attributes["http.response.status_code"]) == ("POST", 404)
        assert b"secret-in" not in collector.bytes_seen

    async def test_by_every_upstream(self, traced: Rig, collector: Collector) -> None:
        traced.for_all_roles("server_error")
        answer = await traced.chat()
        assert answer.status >= 500
        await nothing_in_flight(traced)
        await collector.until(lambda: any(one.kind == "server" for one in collector.all_spans()), "the request")
        [request] = [one for one in collector.all_spans() if one.kind == "server"]
        attempts = [one for one in collector.all_spans() if one.kind == "client"]
        assert (request.status, request.attributes["http.response.status_code"]) == ("error", answer.status)
        assert len(attempts) == int(answer.header("x-gateway-attempts") or 0)
        assert {one.status for one in attempts} == {"error"}


async def test_health_checks_leave_no_trace(traced: Rig, collector: Collector) -> None:
    async with traced.client() as client:
        await client.request("GET", "/healthz", b"")
    await traced.chat()
    await collector.spans(2)


async def test_a_stream_that_breaks_was_sent_as_200_and_is_an_error(traced: Rig, collector: Collector) -> None:
    traced.sandbox.script("cut;after_events=4;delay=1", role="api")
    answer = await traced.chat(stream=True)
    assert answer.status == 200
    request, attempt = await collector.spans(2)
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["error.type"] == "upstream_stream_interrupted"
    assert (request.status, attempt.status) == ("error", "error")
    assert attempt.attributes["error.type"] == "sse_cut_late"


async def test_a_client_that_leaves(traced: Rig, collector: Collector) -> None:
    traced.sandbox.script("stall_mid;after_events=4;seconds=60", role="api")
    async with traced.client() as client:
        await client.ask(chat_body(stream=True))
        await client.head()
        await client.leave()
    request, attempt = await collector.spans(2)
    assert (request.status, attempt.status) == ("unset", "unset"), "nothing failed"
    assert request.attributes["error.type"] == "client_gone"
    assert attempt.attributes["error.type"] == "client_gone_stream"


async def test_a_client_that_leaves_paid_work_behind(traced: Rig, collector: Collector) -> None:
    """The work goes on; the span of its request ends when the client left, and still says what came of it."""
    traced.sandbox.script("slow;delay=5", model="gpt-4o-image")
    async with traced.client() as client:
        await client.ask(json.dumps({"model": "gpt-4o-image", "prompt": PROMPT}).encode(), target=GENERATIONS)
        await traced.sandbox.until(lambda: traced.sandbox.in_flight > 0)
        await client.leave()
    request, attempt = await collector.spans(2)
    assert request.end < attempt.end
    assert request.attributes["error.type"] == "client_gone"
    assert (attempt.attributes["gateway.outcome"], request.attributes["gateway.cost_usd"]) == ("ok", 0.02)


async def test_a_re_send_that_joins_is_linked_with_the_request_that_pays(traced: Rig, collector: Collector) -> None:
    order = json.dumps({"model": "gpt-4o-image", "prompt": PROMPT}).encode()
    traced.sandbox.script("slow;delay=20", model="gpt-4o-image")
    first = start(traced.post(order, target=GENERATIONS))
    await traced.sandbox.until(lambda: traced.sandbox.in_flight == 1)

    second = await traced.post(order, target=GENERATIONS, headers={"x-stainless-retry-count": "1", **PARENT})

    assert second.header("x-gateway-note") == "joined"
    paying_id = (await first).header("x-request-id")
    spans = await collector.spans(3)
    [paying] = [span for span in spans if span.attributes.get("gateway.request_id") == paying_id]
    [joined] = [span for span in spans if span.kind == "server" and span is not paying]
    assert joined.links == [(paying.trace, paying.id)]
    assert (joined.trace, joined.parent) == (TRACE, SPAN), "it keeps its own trace"
    assert joined.attributes["gateway.joined"] is True
    assert joined.attributes["gateway.paid_by"] == paying.attributes["gateway.exchange"]
    assert (joined.attributes["gateway.cost_usd"], paying.attributes["gateway.cost_usd"]) == (0.0, 0.02)
    assert len(traced.sandbox.requests) == 1


async def test_genai_metrics_have_few_labels_and_the_conventions_buckets(traced: Rig, collector: Collector) -> None:
    traced.sandbox.script("server_error", role="api")
    await traced.chat(stream=True, stream_options={"include_usage": True})
    row = await traced.row()
    await traced.gateway._telemetry.close()

    found = collector.metrics()
    [(labels, count, _, bounds)] = found["gen_ai.server.request.duration"]
    chat = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "piapi", "gen_ai.request.model": "gpt-4o"}
    assert (labels, count) == (chat, 1)
    assert (bounds[0], bounds[-1]) == (0.01, 81.92)
    assert [count for _, count, _, _ in found["gen_ai.server.time_to_first_token"]] == [1]
    attempts = found["gen_ai.client.operation.duration"]
    assert {labels.get("error.type") for labels, *_ in attempts} == {row.outcomes[0], None}
    assert all({"server.address", "server.port"} < labels.keys() for labels, *_ in attempts)
    tokens = {labels["gen_ai.token.type"]: total for labels, _, total, _ in found["gen_ai.client.token.usage"]}
    assert tokens == {"input": row.input_tokens, "output": row.output_tokens}


async def test_what_only_clients_name_makes_neither_series_nor_names(
    gateway: StartGateway, collector: Collector
) -> None:
    rig = await gateway(settings(collector))
    for number in range(3):
        await rig.chat(model=f"no-such-{number}")
    await rig.gateway._telemetry.close()
    assert {span.name for span in collector.all_spans()} == {"POST /v1/chat/completions", "chat"}
    series = [labels for found in collector.metrics().values() for labels, *_ in found]
    assert {labels["gen_ai.request.model"] for labels in series} == {"other"}


class TestACollector:
    """Whatever it does, no request is slower or fails, and what was lost is told once."""

    @pytest.mark.parametrize("status", [302, 400, 401, 404, 500])
    async def test_that_refuses(self, gateway: StartGateway, collector: Collector, status: int) -> None:
        collector.status = status
        rig = await gateway(settings(collector))
        assert {(await rig.chat()).status for _ in range(3)} == {200}
        await eventually(lambda: len(collector.all_spans()) >= 6, "all spans to be refused", within=20)
        await rig.gateway._telemetry.close()
        lines = await rig.log_lines("telemetry_not_sent")
        assert len(lines) == 1
        assert lines[0]["spans"] == 6
        assert str(status) in lines[0]["message"]
        assert not [line for line in rig._read_log() if line["event"] == "stdlib"]
        assert KEY not in (rig.folder / "gateway.log").read_text()

    @pytest.mark.parametrize("known", [True, False])
    async def test_that_an_authority_of_ones_own_vouches_for(
        self, gateway: StartGateway, tmp_path: Path, known: bool
    ) -> None:
        authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        async with Collector(tls=context) as collector:
            rig = await gateway(settings(collector, f"ca_file: {tmp_path}/ca.pem" if known else ""))
            assert (await rig.chat()).status == 200
            if known:
                await collector.spans(2)
            await rig.gateway._telemetry.close()
            if not known:
                assert collector.requests == []
                assert (await rig.log_lines("telemetry_not_sent"))[0]["spans"] == 2

    async def test_that_is_gone(self, gateway: StartGateway, collector: Collector) -> None:
        rig = await gateway(settings(collector))
        await collector.close()
        answers = await asyncio.gather(*(rig.chat() for _ in range(20)))
        assert {answer.status for answer in answers} == {200}

    async def test_whose_answers_have_no_end_is_not_listened_to(
        self, gateway: StartGateway, collector: Collector
    ) -> None:
        collector.endless = True
        rig = await gateway(settings(collector))
        for number in range(1, 4):
            assert (await rig.chat()).status == 200
            await collector.spans(2 * number)
        await rig.gateway._telemetry.close()
        assert not [line for line in rig._read_log() if line["event"] == "telemetry_not_sent"]

    async def test_that_hangs_is_waited_for_a_few_seconds_at_the_end(
        self, gateway: StartGateway, collector: Collector
    ) -> None:
        collector.silent = True
        rig = await gateway(settings(collector))
        assert (await rig.chat()).status == 200
        async with asyncio.timeout(8):  # 3 for the flush
            await rig.gateway._telemetry.close()
        [line] = await rig.log_lines("telemetry_not_sent")
        assert line["spans"] == 2

    async def test_that_is_too_slow_costs_spans_not_memory(
        self, gateway: StartGateway, collector: Collector, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "4")
        collector.silent = True
        rig = await gateway(settings(collector))
        for _ in range(10):
            assert (await rig.chat()).status == 200
        sender = rig.gateway._telemetry._sender
        assert sender is not None
        assert sender._losses._spans >= 20 - 2 * 4, "some are being sent, and four may wait"


async def test_the_environment_alone_switches_it_on(
    gateway: StartGateway, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rig's configuration is loaded with an environment of its own, so that is what is set here."""
    import tests.e2e.harness as harness
    from gateway.config import load

    environ = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector.url}/anywhere/v1/traces"}
    monkeypatch.setattr(harness, "load", lambda path, _: load(path, environ))
    monkeypatch.setenv("OTEL_SERVICE_NAME", "gateway-of-the-shop")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    rig = await gateway()
    await rig.chat(key=ALICE)
    request, _ = await collector.spans(2)
    assert {one.path for one in collector.requests} == {"/anywhere/v1/traces"}, "of metrics it says nothing"
    assert request.resource["service.name"] == "gateway-of-the-shop"
    assert request.resource["deployment.environment.name"] == "test"
