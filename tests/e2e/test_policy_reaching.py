"""The failover policy, rows 1 to 5: hosts that cannot be reached, and connections that were kept too long."""

from __future__ import annotations

import socket
import ssl

import pytest
import trustme

from gateway.sandbox import Sandbox
from gateway.upstream.dialer import Address, SystemDialer, system_resolver

from .conftest import StartGateway
from .harness import ROLES, Answer, Rig
from .moments import silent_port

ATTEMPTS = "gateway_upstream_attempts_total"
FAILOVERS = "gateway_failovers_total"


async def check_proxy_served(rig: Rig, slug: str, api: str) -> None:
    """Another host was asked at once, nothing was lost, and the dead host's breaker knows."""
    answer = await rig.chat(stream=True)
    assert answer.status == 200
    assert answer.payloads[-1] == b"[DONE]"
    assert answer.header("x-gateway-attempts") == "2"
    assert [request.role for request in rig.sandbox.requests] == ["proxy"]
    figures = await rig.figures()
    assert figures.total(ATTEMPTS, endpoint=api, outcome=slug) == 1
    assert figures.total(ATTEMPTS, outcome="ok") == 1
    assert figures.total(FAILOVERS, **{"from": "piapi", "to": "piapi", "reason": slug}) == 1
    row = await rig.row()
    assert row.outcomes == [slug, "ok"]
    assert row.attempts[0]["phase"] == 0
    assert row.costs == [(0, "billed"), (row.charged, "billed")]


async def check_nobody_served(rig: Rig, answer: Answer, slugs: list[str]) -> None:
    error = answer.error()
    assert (answer.status, error["type"], error["code"]) == (502, "upstream_error", "upstream_unreachable")
    assert answer.header("x-should-retry") == "false"
    assert rig.sandbox.requests == []
    row = await rig.row()
    assert row.outcomes == slugs
    assert (row.state, row.charged, row.upstream_cost) == ("released", 0, 0)


async def test_a_closed_port(rig: Rig) -> None:
    await rig.sandbox.refuse("api")
    await check_proxy_served(rig, "connect_refused", rig.sandbox.urls["api"])


async def test_every_port_closed(rig: Rig) -> None:
    for role in ROLES:
        await rig.sandbox.refuse(role)
    await check_nobody_served(rig, await rig.chat(), ["connect_refused"] * 3)


async def test_a_host_that_comes_back_serves_the_next_request(rig: Rig) -> None:
    for role in ROLES:
        await rig.sandbox.refuse(role)
    assert (await rig.chat()).status == 502
    for role in ROLES:
        await rig.sandbox.listen(role)
    assert (await rig.chat()).status == 200
    assert [request.role for request in rig.sandbox.requests] == ["api"]


NOWHERE = "http://nowhere.invalid:1"


async def resolve(host: str, port: int) -> list[Address]:
    if host.endswith(".invalid"):
        raise socket.gaierror(socket.EAI_NONAME, "no such name")
    return await system_resolver(host, port)


@pytest.fixture
def stub_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.app.gateway.SystemDialer", lambda: SystemDialer(resolve=resolve))


@pytest.mark.usefixtures("stub_resolver")
async def test_a_name_that_does_not_resolve(gateway: StartGateway, sandbox: Sandbox) -> None:
    proxy = sandbox.urls["proxy"]
    rig = await gateway(f"upstreams: {{piapi: {{endpoints: [{{url: '{NOWHERE}'}}, {{url: '{proxy}'}}]}}}}")
    await check_proxy_served(rig, "dns_error", NOWHERE)


@pytest.mark.usefixtures("stub_resolver")
async def test_no_name_resolves(gateway: StartGateway) -> None:
    endpoints = f"{{endpoints: [{{url: '{NOWHERE}'}}]}}"
    rig = await gateway(f"upstreams: {{piapi: {endpoints}, backup: {endpoints}}}")
    await check_nobody_served(rig, await rig.chat(), ["dns_error"] * 2)


async def test_a_certificate_nobody_trusts(gateway: StartGateway, sandbox: Sandbox) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    async with Sandbox(tls=context) as impostor:
        proxy = sandbox.urls["proxy"]
        rig = await gateway(f"upstreams: {{piapi: {{endpoints: [{{url: '{impostor.url}'}}, {{url: '{proxy}'}}]}}}}")
        await check_proxy_served(rig, "tls_error", impostor.url)
        assert impostor.requests == []


async def test_every_certificate_wrong(gateway: StartGateway) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("other.test").configure_cert(context)
    async with Sandbox(tls=context) as impostor:
        endpoints = f"{{endpoints: [{{url: '{impostor.url}'}}]}}"
        rig = await gateway(f"upstreams: {{piapi: {endpoints}, backup: {endpoints}}}")
        await check_nobody_served(rig, await rig.chat(stream=True), ["tls_error"] * 2)
        assert impostor.requests == []


async def test_a_port_that_does_not_answer(gateway: StartGateway, sandbox: Sandbox) -> None:
    with silent_port() as url:
        endpoints = f"endpoints: [{{url: '{url}'}}, {{url: '{sandbox.urls['proxy']}'}}]"
        rig = await gateway(f"upstreams: {{piapi: {{{endpoints}, timeouts: {{connect: 300ms}}}}}}")
        await check_proxy_served(rig, "connect_timeout", url)


async def test_no_port_answers(gateway: StartGateway) -> None:
    with silent_port() as url:
        silent = f"{{endpoints: [{{url: '{url}'}}], timeouts: {{connect: 100ms}}}}"
        rig = await gateway(f"upstreams: {{piapi: {silent}, backup: {silent}}}")
        await check_nobody_served(rig, await rig.chat(), ["connect_timeout"] * 2)


async def test_a_kept_connection_that_was_closed_is_replaced_once_at_the_same_host(rig: Rig) -> None:
    rig.sandbox.script("reused_reset", role="api", times=None)
    assert (await rig.chat()).status == 200

    answer = await rig.chat(stream=True)

    assert answer.payloads[-1] == b"[DONE]"
    assert answer.header("x-gateway-attempts") == "2"
    requests = rig.sandbox.requests
    assert [(request.role, request.nth) for request in requests] == [("api", 1), ("api", 2), ("api", 1)]
    assert len({request.key for request in requests}) == 1
    figures = await rig.figures()
    assert figures.total(ATTEMPTS, outcome="reused_conn_reset") == 1
    assert figures.total(FAILOVERS) == 0
    assert figures.total("gateway_endpoint_available", endpoint=rig.sandbox.urls["api"]) == 1
    _, row = await rig.rows(2)
    assert row.outcomes == ["reused_conn_reset", "ok"]
    assert row.costs == [(0, "billed"), (row.charged, "billed")]


async def test_and_if_the_fresh_connection_breaks_too_another_host_is_asked(rig: Rig) -> None:
    assert (await rig.chat()).status == 200
    rig.sandbox.script("reset_before_head", role="api", times=2)

    answer = await rig.chat()

    assert answer.status == 200
    assert [request.role for request in rig.sandbox.requests] == ["api", "api", "api", "proxy"]
    _, row = await rig.rows(2)
    assert row.outcomes == ["reused_conn_reset", "connection_reset", "ok"]


async def test_kept_connections_that_break_at_every_host(rig: Rig) -> None:
    """A reset of a reused connection and one of a fresh one are two attempts; three there are in all."""
    assert (await rig.chat()).status == 200
    rig.for_all_roles("reset_before_head")

    answer = await rig.chat()

    assert (answer.status, answer.error()["code"]) == (502, "upstream_error")
    assert answer.header("x-should-retry") == "false"
    assert [request.role for request in rig.sandbox.requests] == ["api", "api", "api", "proxy"]
