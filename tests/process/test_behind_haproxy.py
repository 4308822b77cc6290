"""Gateways in processes of their own behind a real HAProxy: restarts that no client notices, checks as they come."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gateway.sandbox import Sandbox
from tests.base_config import ALICE
from tests.e2e.haproxy import haproxy, needs_haproxy
from tests.e2e.in_front import free_port
from tests.raw_client import RawClient

from .running import CHAT, Gateway, ask, chat, new_client, settings, write


def balanced(port: int, *gateways: Gateway) -> str:
    """One that takes a gateway out at its first failed check, and sends nothing again."""
    lines = [
        "listen front",
        f"    bind 127.0.0.1:{port}",
        "    mode http",
        "    balance roundrobin",
        "    retries 0",
        "    option httpchk GET /readyz",
        *(f"    server g{at} {urlsplit(each.url).netloc} check inter 100ms fall 1" for at, each in enumerate(gateways)),
    ]
    return "\n".join(lines) + "\n"


@needs_haproxy
async def test_a_gateway_that_leaves_costs_no_request(tmp_path: Path, sandbox: Sandbox) -> None:
    """Requests without a pause, whole and streamed, while one of two is stopped by SIGTERM."""
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
        write(folder, settings(sandbox, folder, drain_delay="2s", trusted_proxies=["127.0.0.1"]))
    port = free_port()
    leaving = asyncio.Event()
    statuses: list[int] = []
    async with (
        Gateway.serve(folders[0]) as first,
        Gateway.serve(folders[1]) as second,
        haproxy(tmp_path, balanced(port, first, second)) as running,
    ):
        for server in ("g0", "g1"):
            await running.until(lambda seen: seen.code == "200", server)

        async def busy(stream: bool) -> None:
            async with new_client() as client:
                while not leaving.is_set():
                    url = f"http://127.0.0.1:{port}{CHAT}"
                    answer = await client.post(url, json=chat(stream=stream))
                    statuses.append(answer.status_code)
                    assert not stream or answer.text.rstrip().endswith("[DONE]"), answer.text

        async with asyncio.TaskGroup() as group:
            for stream in (True, False) * 3:
                group.create_task(busy(stream))
            while len(statuses) < 50:
                await asyncio.sleep(0.01)
            first.signal(signal.SIGTERM)
            assert (await running.until(lambda seen: seen.status == "DOWN", "g0")).code == "503"
            assert await first.wait() == 0
            sent = len(statuses)
            while len(statuses) < sent + 50:
                await asyncio.sleep(0.01)
            leaving.set()
        assert set(statuses) == {200}


BARE = {
    "HTTP/1.0 without a Host": b"GET /readyz HTTP/1.0\r\n\r\n",
    "HAProxy's OPTIONS": b"OPTIONS /readyz HTTP/1.0\r\n\r\n",
    "HEAD": b"HEAD /healthz HTTP/1.0\r\n\r\n",
    "HTTP/1.1 without a Host": b"GET /readyz HTTP/1.1\r\nconnection: close\r\n\r\n",
    "an empty Host": b"GET /readyz HTTP/1.1\r\nhost:\r\nconnection: close\r\n\r\n",
    "a cloud's": b"GET /healthz HTTP/1.1\r\nHost: 10.1.2.3:8400\r\nUser-Agent: ELB-HealthChecker/2.0\r\n"
    b"Connection: close\r\n\r\n",
    "with a query": b"GET /readyz?from=lb HTTP/1.0\r\n\r\n",
    "in front of it PROXY UNKNOWN": b"PROXY UNKNOWN\r\nGET /readyz HTTP/1.0\r\n\r\n",
    "in front of it a LOCAL header": b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00GET /readyz HTTP/1.0\r\n\r\n",
}


async def test_checks_are_answered_as_they_come(tmp_path: Path, sandbox: Sandbox) -> None:
    write(tmp_path, settings(sandbox, tmp_path, trusted_proxies=["127.0.0.1"]))
    async with Gateway.serve(tmp_path) as gateway:
        for kind, request in BARE.items():
            client = await RawClient.connect(gateway.url)
            await client.send(request)
            answer = await client.closed()
            assert answer.startswith((b"HTTP/1.1 200 ", b"HTTP/1.0 200 ")), (kind, answer)
            await client.close()
        assert gateway.events("refused") == []


async def test_http_1_0_gets_streams_and_whole_answers_without_chunks(tmp_path: Path, sandbox: Sandbox) -> None:
    write(tmp_path, settings(sandbox, tmp_path))
    async with Gateway.serve(tmp_path) as gateway:
        for stream in (b"true", b"false"):
            body = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}],"stream":%b}' % stream
            key = f"authorization: Bearer {ALICE}\r\nhost: gateway\r\ncontent-length: {len(body)}\r\n\r\n".encode()
            client = await RawClient.connect(gateway.url)
            await client.send(f"POST {CHAT} HTTP/1.0\r\n".encode() + key + body)
            head, _, rest = (await client.closed()).partition(b"\r\n\r\n")
            assert b" 200 " in head.splitlines()[0]
            assert b"transfer-encoding" not in head.lower()
            assert rest.endswith(b"data: [DONE]\n\n" if stream == b"true" else b"}")
            assert (b"x-accel-buffering: no" in head.lower()) is (stream == b"true")
            await client.close()


@pytest.mark.parametrize("trusted", [["127.0.0.1"], []])
async def test_a_proxys_header_decides_whose_guesses_they_are(
    tmp_path: Path, sandbox: Sandbox, trusted: list[str]
) -> None:
    write(tmp_path, settings(sandbox, tmp_path, trusted_proxies=trusted))

    async def guess(gateway: Gateway, address: str) -> bytes:
        client = await RawClient.connect(gateway.url)
        head = (
            f"PROXY TCP4 {address} 192.0.2.1 5000 8400\r\nGET /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
        )
        await client.send(f"{head}authorization: Bearer gw-guess\r\n\r\n".encode())
        answer = await client.closed()
        await client.close()
        return answer.split(b" ")[1]

    async with Gateway.serve(tmp_path) as gateway:
        told = [await guess(gateway, "203.0.113.7") for _ in range(12)]
        if trusted:
            assert told == [b"401"] * 10 + [b"429"] * 2
            assert await guess(gateway, "203.0.113.8") == b"401"
        else:
            assert told == [b"400"] * 12
        async with new_client() as client:
            assert (await ask(client, gateway, chat())).status == 200
