"""Requests of two readings, sent through a real nginx and a real HAProxy: what the proxy takes for one is one here.

The proxy's own count of what it passed on is compared with the gateway's: a difference would be a request that was
smuggled past the proxy's rules, in one direction or the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.raw_client import RawClient
from tests.server.test_protocol import CHUNKED, OTHERS, SMUGGLING

from .conftest import StartGateway
from .haproxy import HAPROXY, haproxy
from .harness import ALICE, Rig, get
from .in_front import free_port
from .test_nginx import NGINX, nginx

HIDDEN = b"GET /admin-of-the-proxy HTTP/1.1\r\nHost: a\r\n\r\n"
"""What an attacker hopes that the proxy does not see, and the gateway does."""

FORMS = {
    **SMUGGLING,
    **{name: OTHERS[name] for name in ("two Hosts", "an absolute target", "a Host with a path")},
    "a whole request in a body": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(HIDDEN),
    "a chunk extension with a line end in quotes": CHUNKED + b'5;a="\r\n"\r\nhello\r\n0\r\n\r\n',
    "a body behind a GET": b"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(HIDDEN),
    "an upgrade in cleartext": b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    "an expectation": b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(HIDDEN),
    "a trailer that is a length": CHUNKED + b"5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n",
}


@asynccontextmanager
async def behind(kind: str, rig: Rig, folder: Path) -> AsyncIterator[str]:
    """The URL of a proxy before the gateway that keeps its connections to it open, as smuggling needs."""
    if kind == "nginx":
        if NGINX is None:
            pytest.skip("NGINX IS MISSING: install it, or nobody compares what it reads")
        async with nginx(rig, folder, "proxy_http_version 1.1; proxy_set_header Connection '';") as url:
            yield url
        return
    if HAPROXY is None:
        pytest.skip("HAPROXY IS MISSING: install it, or nobody compares what it reads")
    port = free_port()
    sections = f"""
frontend door
    mode http
    bind 127.0.0.1:{port}
    default_backend gateways
backend gateways
    mode http
    http-reuse always
    server gateway {urlsplit(rig.gateway.main_url).netloc}
"""
    async with haproxy(folder, sections):
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("kind", ["nginx", "haproxy"])
async def test_the_proxy_and_the_gateway_read_the_same_requests(
    gateway: StartGateway, tmp_path: Path, kind: str
) -> None:
    rig = await gateway()
    async with behind(kind, rig, tmp_path) as url:
        for name, form in FORMS.items():
            before = await counted(rig)
            client = await RawClient.connect(url)
            # The hidden one comes after, whole; a proxy may take it for a second request of this connection.
            await client.send(form + HIDDEN)
            answers = (await client.receive(quiet=0.3)).raw.split(b"HTTP/1.1 ")[1:]
            await client.close()
            final = [answer for answer in answers if not answer.startswith(b"1")]
            # Whoever sits on the proxy's kept connection next must get an answer of its own.
            pings = [await ping(url) for _ in range(3)]
            assert pings == [b"gpt-4o"] * 3, f"{kind}: {name}: another client got an answer that was not its own"
            seen = await counted(rig) - before - len(pings)
            # What the gateway refused as malformed counts as well; it is never more than was answered.
            assert seen <= len(final), f"{kind}: {name}: the gateway read {seen} requests, the client got {len(final)}"


async def counted(rig: Rig) -> int:
    """The requests that the gateway has taken so far, whatever became of them; scrapes of its metrics apart."""
    figures = (await get(f"{rig.gateway.admin_url}/metrics")).decode().splitlines()
    lines = [line for line in figures if line.startswith("gateway_requests_total{") and 'route="/metrics"' not in line]
    return sum(int(float(line.rpartition(" ")[2])) for line in lines)


async def ping(url: str) -> bytes:
    """The id of a model, asked for by another client."""
    client = await RawClient.connect(url)
    try:
        async with asyncio.timeout(10):
            answer = await client.request("GET", "/v1/models/gpt-4o", b"", f"Authorization: Bearer {ALICE}")
        return str(answer.json()["id"]).encode()
    finally:
        await client.close()
