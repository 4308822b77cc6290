"""Fetching through a proxy: the guard is the same, and the proxy is not even asked for what it forbids."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trustme

from gateway.core.connection_options import ConnectionOptions
from gateway.core.errors import LinkForbidden, ResultUnavailable
from gateway.runtime.tls import client_context
from gateway.upstream.address_guard import Surroundings
from gateway.upstream.dialer import Address, Resolver
from gateway.upstream.result_fetch import ResultFetcher

from .fetching import OK, PNG, Made, Pauses, answer, moved, once
from .peer import Peer, Script
from .tunnels import ForwardProxy

PUBLIC = "93.184.215.14"
authority = trustme.CA()
ours = client_context()
authority.configure_trust(ours)
theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
authority.issue_cert("img.test", "store.cdn.test").configure_cert(theirs)


def names(**known: str | tuple[str, ...]) -> Resolver:
    """A resolver that knows ``img`` for img.test and so on; of other names it knows nothing."""

    async def resolve(host: str, port: int) -> list[Address]:
        found = known.get(host.partition(".")[0])
        if found is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, (one, port)) for one in ((found,) if isinstance(found, str) else found)]

    return resolve


class Through:
    """A fetcher behind a proxy that leads every host to one peer."""

    def __init__(self, fetcher: Made, *scripts: Script) -> None:
        self._fetcher = fetcher
        self._peer = Peer(*(scripts or (OK,)), context=theirs)

    async def __aenter__(self) -> Through:
        await self._peer.__aenter__()
        here = f"127.0.0.1 {self._peer.port}"
        self.proxy = await ForwardProxy(leads={"img.test": here, "store.cdn.test": here}).__aenter__()
        return self

    async def __aexit__(self, *why: Any) -> None:
        await self.proxy.__aexit__(*why)
        await self._peer.__aexit__(*why)

    def fetching(self, resolver: Resolver, *hosts: str) -> ResultFetcher:
        options = ConnectionOptions(self.proxy.proxy)
        made = self._fetcher(*(hosts or "*"), private=False, resolver=resolver, ssl_context=ours, options=options)
        made.surroundings = Surroundings(names=frozenset({"ours.test"}), upstreams=frozenset({"upstream.test"}))
        return made


@pytest.fixture
async def through(fetcher: Made) -> AsyncIterator[Through]:
    async with Through(fetcher) as made:
        yield made


@pytest.mark.parametrize("resolver", [names(img=PUBLIC), names()], ids=["known here", "known to the proxy alone"])
async def test_a_public_host_is_reached_by_its_name(through: Through, resolver: Resolver) -> None:
    assert await through.fetching(resolver).fetch("https://img.test/a.png") == PNG
    assert through.proxy.targets == ["img.test:443"]


FORBIDDEN = (
    "https://127.0.0.1/a.png",
    "https://10.0.0.1/a.png",
    "https://192.168.1.1/a.png",
    "https://169.254.169.254/latest/meta-data",
    "https://100.64.0.1/a.png",
    "https://[::1]/a.png",
    "https://[fd00::1]/a.png",
    "https://[::ffff:10.0.0.1]/a.png",
    "https://[64:ff9b::a00:1]/a.png",
    "https://2130706433/a.png",
    "https://0x7f000001/a.png",
    "https://127.1/a.png",
    "https://localhost/a.png",
    "https://printer.local/a.png",
    "https://user@img.test/a.png",
    "https://img.test\\@10.0.0.1/a.png",
    "https://ours.test/a.png",
    "ftp://img.test/a.png",
)
LEFT_TO_THE_CLIENT = (
    "http://img.test/a.png",
    "https://img.test:8443/a.png",
    "https://img.test:22/a.png",
    "https://upstream.test/a.png",
)


@pytest.mark.parametrize("link", [*FORBIDDEN, *LEFT_TO_THE_CLIENT])
async def test_what_the_guard_refuses_the_proxy_is_never_asked_for(through: Through, link: str) -> None:
    with pytest.raises(ResultUnavailable) as caught:
        await through.fetching(names(img=PUBLIC, upstream=PUBLIC)).fetch(link)
    assert isinstance(caught.value, LinkForbidden) is (link in FORBIDDEN)
    assert through.proxy.targets == []


@pytest.mark.parametrize("place", [*FORBIDDEN, *LEFT_TO_THE_CLIENT])
async def test_nor_is_it_after_a_redirect(fetcher: Made, pauses: Pauses, place: str) -> None:
    async with Through(fetcher, moved(place)) as through:
        with pytest.raises(ResultUnavailable) as caught:
            await through.fetching(names(img=PUBLIC, upstream=PUBLIC)).fetch("https://img.test/a.png")
        assert isinstance(caught.value, LinkForbidden) is (place in FORBIDDEN)
        assert through.proxy.targets == ["img.test:443"]
    assert pauses == []


@pytest.mark.parametrize("inside", ["10.0.0.1", "127.0.0.1", "169.254.169.254", (PUBLIC, "192.168.0.1")])
async def test_a_name_that_leads_inside_here_is_refused_here(through: Through, inside: str | tuple[str, ...]) -> None:
    with pytest.raises(LinkForbidden, match="not a public one"):
        await through.fetching(names(img=inside)).fetch("https://img.test/a.png")
    assert through.proxy.targets == []


async def test_nor_may_a_redirect_lead_to_such_a_name(fetcher: Made) -> None:
    async with Through(fetcher, moved("https://store.cdn.test/b.png")) as through:
        with pytest.raises(LinkForbidden, match="not a public one"):
            await through.fetching(names(img=PUBLIC, store="10.0.0.1")).fetch("https://img.test/a.png")
        assert through.proxy.targets == ["img.test:443"]


async def test_a_name_that_turns_inside_between_two_tries_is_caught(fetcher: Made) -> None:
    answers = [PUBLIC, "10.0.0.1"]

    async def turning(host: str, port: int) -> list[Address]:
        return [(socket.AF_INET, (answers.pop(0), port))]

    async with Through(fetcher, once(answer(503)), OK) as through:
        with pytest.raises(LinkForbidden):
            await through.fetching(turning).fetch("https://img.test/a.png")
        assert through.proxy.targets == ["img.test:443"]


async def test_a_name_that_could_not_be_looked_up_for_want_of_descriptors_is_not_taken_for_unknown(
    through: Through, pauses: Pauses
) -> None:
    """Whether it leads inside is then not known, and the proxy would take it wherever it leads."""

    async def short(host: str, port: int) -> list[Address]:
        raise socket.gaierror(socket.EAI_MEMORY, "no descriptor left")

    with pytest.raises(ResultUnavailable, match="no descriptor left"):
        await through.fetching(short).fetch("https://img.test/a.png")
    assert through.proxy.targets == []
    assert len(pauses) == 2  # it may pass


async def test_a_redirect_to_another_public_host_goes_through_it_too(fetcher: Made) -> None:
    async with Through(fetcher, moved("https://store.cdn.test/b.png"), OK) as through:
        assert await through.fetching(names(img=PUBLIC)).fetch("https://img.test/a.png") == PNG
        assert through.proxy.targets == ["img.test:443", "store.cdn.test:443"]


async def test_the_proxy_cannot_pass_another_host_off(fetcher: Made) -> None:
    """A name that turns inside at the proxy meets TLS: who answers must be certified for it."""
    async with Through(fetcher) as through:
        through.proxy._leads = {"evil.test": f"127.0.0.1 {through._peer.port}"}
        with pytest.raises(ResultUnavailable, match="tls_error"):
            await through.fetching(names()).fetch("https://evil.test/a.png")
        assert through._peer.requests == []


async def test_a_proxy_that_refuses_is_a_result_that_is_unavailable(fetcher: Made) -> None:
    async with ForwardProxy(b"HTTP/1.1 403 Forbidden\r\n\r\n") as proxy:
        fetching = fetcher("*", private=False, resolver=names(), options=ConnectionOptions(proxy.proxy))
        with pytest.raises(ResultUnavailable, match="answered 403 to CONNECT") as caught:
            await fetching.fetch("https://img.test/a.png")
        assert not isinstance(caught.value, LinkForbidden)
