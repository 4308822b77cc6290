"""What the tests of fetching share: answers, redirects, fetchers that may reach this machine."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from gateway.core.errors import ResultUnavailable
from gateway.runtime.tls import client_context
from gateway.upstream.dialer import Address, Resolver
from gateway.upstream.result_fetch import FetchLimits, ResultFetcher

from .peer import Do, Peer, Script

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8
CONTEXT = client_context()
"""One for all: reading the system's certificates takes longer than most tests."""


def answer(status: int, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def once(data: bytes) -> Script:
    """One connection: a request, this answer."""
    return [Do.REQUEST, data]


def moved(place: str, status: int = 302) -> Script:
    return once(answer(status, b"", f"location: {place}"))


OK = once(answer(200, PNG))


async def loopback(host: str, port: int) -> list[Address]:
    return [(socket.AF_INET, ("127.0.0.1", port))]


class Pauses(list[float]):
    """Instead of ``asyncio.sleep``: remembers how long it should have taken."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


Made = Callable[..., ResultFetcher]


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
async def fetcher(pauses: Pauses) -> AsyncIterator[Made]:
    """Fetchers that may reach this machine; nothing of them may be left."""
    made: list[ResultFetcher] = []

    def make(*hosts: str, private: bool = True, resolver: Resolver = loopback, **options: Any) -> ResultFetcher:
        limits = FetchLimits(**options.pop("limits", {}))
        options.setdefault("ssl_context", CONTEXT)
        hosts = hosts or ("img.test", "*.cdn.test")
        made.append(ResultFetcher(hosts, private, resolver=resolver, sleep=pauses, limits=limits, **options))
        return made[-1]

    yield make
    for each in made:
        assert each._pool.idle_count == 0
        await each.close()
        assert each._pool.open_count == 0


def link(peer: Peer, path: str = "/a.png", host: str = "img.test") -> str:
    return f"http://{host}:{peer.port}{path}"


async def trouble(fetching: ResultFetcher, url: str) -> str:
    with pytest.raises(ResultUnavailable) as caught:
        await fetching.fetch(url)
    assert "secret" not in str(caught.value)
    return str(caught.value)
