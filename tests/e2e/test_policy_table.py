"""Every line of the failover policy over real sockets: who serves next, what the client is told, what it costs."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from gateway.core.outcomes.table import RULES
from tests.yaml_text import read_yaml, write_yaml

from .apis import APIS, Api
from .conftest import StartGateway
from .faults import AFTER_CONTENT, BEFORE_CONTENT, TWO_KEYS, Fault, LateFault
from .harness import Answer, Figures, Rig, merged

ATTEMPTS = "gateway_upstream_attempts_total"
FAILOVERS = "gateway_failovers_total"
REQUEST_ID = {"x-request-id": "story-0001"}

PLAYED_ELSEWHERE = {
    "ok": "every test of this folder",
    "connect_refused": "test_policy_reaching.py",
    "dns_error": "test_policy_reaching.py",
    "tls_error": "test_policy_reaching.py",
    "connect_timeout": "test_policy_reaching.py",
    "reused_conn_reset": "test_policy_reaching.py",
    "wish_refused": "test_own_wishes.py",
    "task_failed": "test_flux_tasks.py",
    "task_unknown": "test_flux_tasks.py",
    "task_poll": "test_flux_tasks.py",
    "no_image": "test_picture_words.py",
    "asset_unavailable": "test_image_results.py",
    "client_gone_early": "test_clients_leaving.py",
    "client_gone_wait": "test_clients_leaving.py",
    "client_gone_stream": "test_clients_leaving.py",
    "client_stalled": "test_slow_clients.py",
    "drain_cut": "test_own_endings.py",
    "taken_over": "test_fleet_jobs.py",
    "deadline": "test_own_endings.py",
    "internal_error": "test_own_endings.py",
}
NEVER_AN_OUTCOME = {
    "budget_denied": "no attempt is made: test_budgets.py",
    "pool_timeout": "only a shortage of descriptors or ports leads there: tests/upstream/test_shortage.py plays it",
    "stall_finish": "an answer that named its finish reason is complete after two seconds of grace: its outcome is ok",
}


ASKED: Mapping[str, list[str]] = {
    "proxy": ["api", "proxy", "backup"],
    "other key": ["api", "api", "backup"],
    "backup": ["api", "backup"],
}
"""Which hosts a request visits while every one of them plays a fault, by who comes first after it."""


def test_every_outcome_is_played() -> None:
    played = {fault.slug for fault in BEFORE_CONTENT} | {fault.slug for fault in AFTER_CONTENT}
    assert not played & set(NEVER_AN_OUTCOME)
    assert played | set(PLAYED_ELSEWHERE) | set(NEVER_AN_OUTCOME) == set(RULES)


@pytest.mark.parametrize("api", APIS, ids=str)
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("fault", BEFORE_CONTENT, ids=str)
async def test_played_once(api: Api, fault: Fault, stream: bool, gateway: StartGateway) -> None:
    rig = await gateway(configured(fault.config))
    rig.sandbox.script(fault.scenario, role="api")

    answer = await api.ask(rig, stream=stream, headers=REQUEST_ID)

    assert answer.header("x-request-id") == REQUEST_ID["x-request-id"]
    await rig.sandbox.until_idle()
    figures = await rig.figures()
    assert figures.total(ATTEMPTS, endpoint=rig.sandbox.urls["api"], outcome=fault.slug) == 1
    if fault.next == "nobody":
        await check_refused(rig, fault, answer, figures)
    else:
        (api.check_stream if stream else api.check_whole)(answer)
        await check_served_by_another(rig, fault, answer, figures)


async def check_refused(rig: Rig, fault: Fault, answer: Answer, figures: Figures) -> None:
    check_told(fault, answer)
    assert [request.role for request in rig.sandbox.requests] == ["api"]
    assert answer.header("x-gateway-attempts") == "1"
    assert figures.total(ATTEMPTS) == 1
    assert figures.total(FAILOVERS) == 0
    row = await rig.row()
    assert (row.state, row.charged, row.upstream_cost) == ("released", 0, 0)
    assert row.outcomes == [fault.slug]
    assert row.status == fault.told[0]


async def check_served_by_another(rig: Rig, fault: Fault, answer: Answer, figures: Figures) -> None:
    assert answer.status == 200
    assert answer.complete
    first, second = rig.sandbox.requests
    assert [first.role, second.role] == ASKED[fault.next][:2]
    assert fault.next == "proxy" or first.key != second.key
    upstream = "backup" if fault.next == "backup" else "piapi"
    assert answer.header("x-gateway-upstream") == upstream
    assert answer.header("x-gateway-attempts") == "2"
    assert figures.total(ATTEMPTS, endpoint=rig.sandbox.urls[second.role], outcome="ok") == 1
    assert figures.total(ATTEMPTS) == 2
    moved = 0 if fault.next == "other key" else 1
    assert figures.total(FAILOVERS, **{"from": "piapi", "to": upstream, "reason": fault.slug}) == moved
    assert figures.total(FAILOVERS) == moved

    row = await rig.row()
    assert row.outcomes == [fault.slug, "ok"]
    assert (row.state, row.status, row.confidence) == ("settled", 200, "measured")
    (paid,) = [line.amount for line in rig.sandbox.bill if line.number == second.number]
    assert row.charged == paid
    (lost, why), last = row.costs
    assert last == (paid, "billed")
    assert row.upstream_cost == paid + lost
    if fault.doubtful:
        assert lost > 0
        assert why == "unknown"
        assert figures.nano("gateway_upstream_cost_usd_total", reason="unknown") == lost
    else:
        assert lost == 0


@pytest.mark.parametrize("api", APIS, ids=str)
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("fault", [fault for fault in BEFORE_CONTENT if fault.next != "nobody"], ids=str)
async def test_played_by_all(api: Api, fault: Fault, stream: bool, gateway: StartGateway) -> None:
    rig = await gateway(configured(fault.config))
    rig.for_all_roles(fault.scenario)

    answer = await api.ask(rig, stream=stream, headers=REQUEST_ID)

    check_told(fault, answer)
    roles = ASKED[fault.next]
    assert [request.role for request in rig.sandbox.requests] == roles
    assert len({(request.role, request.key) for request in rig.sandbox.requests}) == len(roles)
    assert answer.header("x-request-id") == REQUEST_ID["x-request-id"]
    assert answer.header("x-gateway-upstream") == "backup"
    assert answer.header("x-gateway-attempts") == str(len(roles))
    figures = await rig.figures()
    assert figures.total(ATTEMPTS, outcome=fault.slug) == figures.total(ATTEMPTS) == len(roles)
    assert figures.total(FAILOVERS, **{"from": "piapi", "to": "backup", "reason": fault.slug}) == 1
    assert figures.total("gateway_requests_total", route=api.path, status=str(fault.told[0]), upstream="backup") == 1

    row = await rig.row()
    assert row.outcomes == [fault.slug] * len(roles)
    assert row.charged == 0
    assert row.status == fault.told[0]
    assert row.state == ("settled" if fault.doubtful else "released")
    for lost, why in row.costs:
        assert (lost > 0) == fault.doubtful
        assert why == ("unknown" if fault.doubtful else "billed")


@pytest.mark.parametrize("api", APIS, ids=str)
@pytest.mark.parametrize("fault", AFTER_CONTENT, ids=str)
async def test_played_after_content(api: Api, fault: LateFault, gateway: StartGateway) -> None:
    rig = await gateway(configured(fault.config))
    rig.sandbox.script(fault.scenario, role="api")

    answer = await api.ask(rig, stream=True, headers=REQUEST_ID)

    words, code = api.broken(answer)
    assert code == "upstream_stream_interrupted"
    assert answer.header("x-request-id") == REQUEST_ID["x-request-id"]
    assert answer.header("x-gateway-upstream") == "piapi"
    assert words
    assert [request.role for request in rig.sandbox.requests] == ["api"]
    figures = await rig.figures()
    assert figures.total(ATTEMPTS, outcome=fault.slug) == figures.total(ATTEMPTS) == 1
    assert figures.total(FAILOVERS) == 0
    assert figures.total("gateway_requests_total", status="502") == 1

    row = await rig.row()
    assert row.outcomes == [fault.slug]
    assert (row.state, row.confidence, row.status) == ("settled", "estimated", 502)
    assert row.output_tokens == rig.gateway.services.tokenizer.count(words)
    assert row.charged > 0
    assert row.costs == [(row.charged, fault.reason)]


@pytest.mark.parametrize("api", APIS, ids=str)
@pytest.mark.parametrize("fault", [fault for fault in AFTER_CONTENT if fault.reason == "unknown"], ids=str)
async def test_what_comes_late_in_a_stream_is_not_seen_by_who_did_not_ask_for_one(
    api: Api, fault: LateFault, gateway: StartGateway
) -> None:
    """Nothing was delivered yet, so another upstream serves it, and the half answer is ours to pay."""
    rig = await gateway(configured(fault.config))
    rig.sandbox.script(fault.scenario, role="api")

    answer = await api.ask(rig)

    assert answer.status == 200
    api.check_whole(answer)
    assert [request.role for request in rig.sandbox.requests] == ["api", "proxy"]
    await rig.sandbox.until_idle()
    row = await rig.row()
    (paid,) = [line.amount for line in rig.sandbox.bill if line.number == 1]
    assert row.charged == paid
    assert row.costs[1] == (paid, "billed")


async def test_503_with_retry_after_cools_the_model_at_all_of_an_upstreams_hosts(rig: Rig) -> None:
    rig.sandbox.script("overloaded;retry_after=20", role="api")

    answer = await rig.chat()

    assert answer.status == 200
    assert [request.role for request in rig.sandbox.requests] == ["api", "backup"]
    figures = await rig.figures()
    assert figures.total(FAILOVERS, **{"from": "piapi", "to": "backup", "reason": "upstream_5xx"}) == 1
    await rig.chat()
    await rig.chat(model="gpt-4o-mini")
    assert [request.role for request in rig.sandbox.requests[2:]] == ["backup", "api"]


async def test_when_all_are_overloaded_nobody_is_asked_again_before_the_time_it_named(rig: Rig) -> None:
    rig.for_all_roles("overloaded;retry_after=20")

    answer = await rig.chat()

    assert (answer.status, answer.error()["code"]) == (502, "upstream_error")
    assert (answer.header("retry-after"), answer.header("x-should-retry")) == ("20", "false")
    assert [request.role for request in rig.sandbox.requests] == ["api", "backup"]


async def test_a_model_with_no_other_upstream_is_still_asked_for_at_the_other_host(rig: Rig) -> None:
    """Failing open: PiAPI alone has this model."""
    rig.sandbox.script("overloaded;retry_after=20", role="api")

    answer = await rig.chat(model="claude-sonnet-4-20250514")

    assert answer.status == 200
    assert [request.role for request in rig.sandbox.requests] == ["api", "proxy"]


def configured(overrides: str) -> str:
    """The fault's own configuration, with two keys at PiAPI."""
    document: str = write_yaml(merged(read_yaml(TWO_KEYS), read_yaml(overrides) or {}))
    return document


def check_told(fault: Fault, answer: Answer) -> None:
    error = answer.error()
    assert (answer.status, error["type"], error["code"]) == fault.told
    assert answer.header("retry-after") == fault.retry_after
    assert answer.header("x-should-retry") == ("true" if fault.told[0] == 429 else "false")
    assert error["param"] == ("model" if fault.slug == "model_missing" else None)
