"""The balancers of a fleet before three gateways: HAProxy by the shipped file, and our own where there is none."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gateway.exchange.tokenizer import Tokenizer
from gateway.sandbox import Sandbox
from scripts.fleet.haproxy import SHIPPED, configuration
from scripts.fleet.least_connections import Backend, balancing, chosen
from tests.raw_client import RawClient, head_of

from .haproxy import HAPROXY, needs_haproxy
from .harness import ALICE, PATH, PATIENCE, ROLES, Rig, chat_body, eventually
from .in_front import free_port

NOTICED = 3.5
"""Seconds within which a balancer has noticed that a gateway drains: two checks, a second apart, and a little."""

Balancer = Callable[[list[str], Path], AbstractAsyncContextManager[str]]


@asynccontextmanager
async def shipped(gateways: list[str], folder: Path) -> AsyncIterator[str]:
    assert HAPROXY is not None
    port, figures = free_port(), free_port()
    file = folder / "haproxy.cfg"
    file.write_text(configuration(gateways, port, figures), encoding="utf-8")
    with (folder / "haproxy.log").open("w") as log:
        process = await asyncio.create_subprocess_exec(HAPROXY, "-db", "-f", str(file), stdout=log, stderr=log)
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                assert process.returncode is None, (folder / "haproxy.log").read_text()
                try:
                    text = await figures_of(figures)
                except OSError:
                    await asyncio.sleep(0.02)
                    continue
                if text.count('state="UP"} 1') >= 3 and 'haproxy_server_check_status{proxy="gateways"' in text:
                    break
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def figures_of(port: int) -> str:
    client = await RawClient.connect(f"http://127.0.0.1:{port}")
    answer = await client.request("GET", "/metrics")
    await client.close()
    return bytes(answer.body).decode()


@asynccontextmanager
async def our_own(gateways: list[str], folder: Path) -> AsyncIterator[str]:
    async with balancing(gateways, 0) as port:
        yield f"http://127.0.0.1:{port}"


each = pytest.mark.parametrize("balancer", [pytest.param(shipped, marks=needs_haproxy), our_own])


@pytest.fixture
async def three(
    tmp_path: Path, tokenizer: Tokenizer, authorities: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[list[Rig]]:
    """Three gateways, each with books and a sandbox of its own: what balances them cannot tell."""
    monkeypatch.setattr("gateway.app.assembly.Tokenizer", lambda _: tokenizer)
    monkeypatch.setattr("gateway.upstream.tls.client_context", lambda *_: authorities)
    async with AsyncExitStack() as stack:
        rigs = []
        for number in range(3):
            (folder := tmp_path / str(number)).mkdir()
            sandbox = await stack.enter_async_context(Sandbox(roles=ROLES))
            rigs.append(await Rig.start(sandbox, folder, "{trusted_proxies: [127.0.0.1], drain_delay: 20s}"))
            stack.push_async_callback(rigs[-1].close)
        yield rigs


def places(rigs: list[Rig]) -> list[str]:
    return [urlsplit(rig.gateway.main_url).netloc for rig in rigs]


@needs_haproxy
def test_the_shipped_file_is_one() -> None:
    done = subprocess.run([str(HAPROXY), "-c", "-f", SHIPPED], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in (done.stdout + done.stderr).upper()


def test_the_shipped_file_asks_nothing_twice() -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    assert "retry-on conn-failure\n" in text, "what was sent may have been bought"
    assert "http-buffer-request" not in text
    for timeout in ("client 30m", "server 30m"):
        assert f"timeout {timeout}\n" in text


def test_the_fewest_connections_come_first_and_what_is_not_ready_last() -> None:
    backends = [Backend("a", 1, connections=3), Backend("b", 1, ready=False), Backend("c", 1, connections=1)]
    assert [backend.host for backend in chosen(backends)] == ["c", "a", "b"]


def slow(**fields: object) -> bytes:
    """A stream of a second or two."""
    messages = [{"role": "user", "content": "hello [[sandbox: slow;delay=100]]"}]
    return chat_body(messages=messages, stream=True, **fields)


async def ask(url: str, body: bytes, *headers: str) -> RawClient:
    """Send a request over a connection of its own; the caller reads the answer."""
    client = await RawClient.connect(url)
    lines = (
        f"host: {urlsplit(url).netloc}",
        f"authorization: Bearer {ALICE}",
        f"content-length: {len(body)}",
        *headers,
    )
    await client.send(head_of("POST", PATH, *lines) + body)
    return client


async def whole(client: RawClient) -> int:
    answer = await client.answer()
    assert answer.complete
    await client.close()
    return answer.status


async def running(rig: Rig) -> int:
    return int((await rig.figures()).total("gateway_requests_in_flight"))


async def answered(rig: Rig) -> int:
    return int((await rig.figures()).total("gateway_requests_total"))


@each
async def test_streams_are_spread_by_their_number(three: list[Rig], balancer: Balancer, tmp_path: Path) -> None:
    async with balancer(places(three), tmp_path) as url:
        clients = [await ask(url, slow()) for _ in range(6)]

        async def two_each() -> bool:
            return [await running(rig) for rig in three] == [2, 2, 2]

        await eventually(two_each, "two streams at each gateway")
        assert [await whole(client) for client in clients] == [200] * 6


@each
async def test_a_stream_is_not_collected(three: list[Rig], balancer: Balancer, tmp_path: Path) -> None:
    async with balancer(places(three), tmp_path) as url:
        client = await ask(url, slow())
        await client.receive_events(1)
        assert sum([await running(rig) for rig in three]) == 1, "it goes on, and its first words are here"
        await client.close()


@each
async def test_who_drains_gets_nothing_new_and_ends_what_it_has(
    three: list[Rig], balancer: Balancer, tmp_path: Path
) -> None:
    async with balancer(places(three), tmp_path) as url:
        clients = [await ask(url, slow()) for _ in range(3)]

        async def one_each() -> bool:
            return [await running(rig) for rig in three] == [1, 1, 1]

        await eventually(one_each, "a stream at each gateway")
        three[0].gateway.leave()
        await asyncio.sleep(NOTICED)
        later = [await ask(url, chat_body()) for _ in range(6)]
        assert [await whole(client) for client in (*clients, *later)] == [200] * 9
        assert await answered(three[0]) == 1


@each
async def test_a_gateway_that_is_gone_costs_no_request(three: list[Rig], balancer: Balancer, tmp_path: Path) -> None:
    gone = f"127.0.0.1:{free_port()}"
    async with balancer([gone, *places(three)], tmp_path) as url:
        clients = [await ask(url, chat_body()) for _ in range(8)]
        assert [await whole(client) for client in clients] == [200] * 8


@needs_haproxy
async def test_nobody_can_say_who_they_are(three: list[Rig], tmp_path: Path) -> None:
    """Wrong keys are held against the address that they come from, not against the one that they name."""
    async with shipped(places(three), tmp_path) as url:
        client = await RawClient.connect(url)
        body = chat_body()
        lines = ("host: x", "authorization: Bearer gw-wrong-000000000000000000", f"content-length: {len(body)}")
        await client.send(head_of("POST", PATH, *lines, "x-forwarded-for: 203.0.113.9") + body)
        assert (await client.answer()).status == 401
        await client.close()

    def refused() -> list[str]:
        lines = [line for rig in three for line in (rig.folder / "gateway.log").read_text().splitlines()]
        return [line for line in lines if '"event":"refused"' in line]

    await eventually(lambda: bool(refused()), "the refusal's line in a log")
    assert [json.loads(line)["address"] for line in refused()] == ["127.0.0.1"]
