"""Fetching and the guard together: redirects, names that lead inside, addresses that are the ones checked."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading

import pytest
import trustme

from gateway.core.errors import LinkForbidden, ResultUnavailable
from gateway.runtime.tls import client_context
from gateway.upstream import dialer
from gateway.upstream.address_guard import LinkRefused, Surroundings
from gateway.upstream.dialer import Address
from gateway.upstream.result_fetch import FetchLimits, ResultFetcher

from .fetching import CONTEXT, OK, PNG, Made, Pauses, answer, link, loopback, moved, once, trouble
from .peer import Peer


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_followed(fetcher: Made, status: int) -> None:
    async with Peer(moved("/b.png?sig=1#c", status), OK) as peer:
        assert await fetcher().fetch(link(peer)) == PNG
        assert [head.split(b" ")[1] for head in peer.requests] == [b"/a.png", b"/b.png?sig=1"]


async def test_three_redirects_are_followed_and_the_fourth_is_not(fetcher: Made, pauses: Pauses) -> None:
    async with Peer(moved("b"), moved("./c"), moved("?d"), OK) as peer:
        assert await fetcher().fetch(link(peer)) == PNG
        assert [head.split(b" ")[1] for head in peer.requests] == [b"/a.png", b"/b", b"/c", b"/c?d"]
    async with Peer(moved("/around")) as peer:
        reason = await trouble(fetcher(), link(peer))
        assert reason == "the image's link was redirected more than 3 times"
        assert len(peer.requests) == 4
    assert pauses == []


async def test_a_redirect_may_lead_to_another_host_of_the_list(fetcher: Made) -> None:
    async with Peer(OK) as other, Peer(moved(link(other, "/b.png", "store.cdn.test"))) as peer:
        assert await fetcher().fetch(link(peer)) == PNG
        assert b"host: store.cdn.test:%d\r\n" % other.port in other.requests[0]


@pytest.mark.parametrize(
    "place",
    [
        "http://evil.test/",
        "//evil.test/",
        "http://127.0.0.1/",
        "http://2130706433/",
        "http://[::1]/",
        "http://169.254.169.254/latest/secret",
        "http://img.test@evil.test/",
        "http://img.test\\@evil.test/",
        "\\\\evil.test/",
        "file:///etc/passwd",
        "data:image/png;base64,iVBORw0KGgo=",
        "gopher://img.test/",
        "http://[::1",
    ],
)
async def test_a_redirect_to_anywhere_else_is_refused(fetcher: Made, pauses: Pauses, place: str) -> None:
    asked: list[str] = []

    async def noting(host: str, port: int) -> list[Address]:
        asked.append(host)
        return await loopback(host, port)

    async with Peer(moved(place)) as peer:
        await trouble(fetcher(resolver=noting), link(peer))
        assert len(peer.requests) == 1
    assert asked == ["img.test"]
    assert pauses == []


async def test_a_redirect_to_nowhere(fetcher: Made) -> None:
    for head in (answer(302), answer(302, b"", "location: /\x7f").replace(b"\x7f", b"\xff")):
        async with Peer(once(head)) as peer:
            assert await trouble(fetcher(), link(peer)) == "the image's host answered 302 and no place to go to"


async def test_cookies_are_never_taken_along(fetcher: Made) -> None:
    biscuit = answer(302, b"", "location: /b", "set-cookie: secret=1; Path=/")
    async with Peer(once(biscuit), OK) as peer:
        await fetcher().fetch(link(peer))
        assert b"cookie" not in b"".join(peer.requests).lower()


# The guard, on the open internet: TLS, port 443, public addresses. Only the last step, the connecting, is ours.

ADDRESS, OTHER = "93.184.215.14", "93.184.215.15"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = client_context()
    authority.configure_trust(context)
    return context


class Internet:
    """Plays the hosts behind public addresses by one peer. ``reached``: the addresses connected to, in order."""

    def __init__(self, authority: trustme.CA, *names: str) -> None:
        self.reached: list[tuple[str, int]] = []
        self.called: list[str | None] = []
        self.port = 0
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(*names).configure_cert(self.context)
        self.context.sni_callback = lambda _, name, __: self.called.append(name)  # type: ignore[assignment]

    async def connect(self, address: Address) -> socket.socket:
        self.reached.append((address[1][0], address[1][1]))
        sock = socket.socket()
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        return sock


@pytest.fixture
def internet(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> Internet:
    made = Internet(authority, "img.test", "store.cdn.test")
    monkeypatch.setattr(dialer, "_connect", made.connect)
    return made


class Names:
    """A resolver that answers from a script; the last answer stands. ``asked``: every question."""

    def __init__(self, *answers: str | tuple[str, ...]) -> None:
        self._answers = answers
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[Address]:
        answer = self._answers[min(len(self.asked), len(self._answers) - 1)]
        self.asked.append(host)
        return [(socket.AF_INET, (each, port)) for each in ((answer,) if isinstance(answer, str) else answer)]


async def test_the_name_is_checked_and_spoken_to_and_the_address_is_the_one_that_was_checked(
    fetcher: Made, internet: Internet, trusting: ssl.SSLContext
) -> None:
    names = Names(ADDRESS, "127.0.0.1")  # rebinding: the second answer would lead inside
    async with Peer(OK, context=internet.context) as peer:
        internet.port = peer.port
        fetching = fetcher(private=False, resolver=names, ssl_context=trusting)
        assert await fetching.fetch("https://img.test/a.png") == PNG
        assert b"\r\nhost: img.test\r\n" in peer.requests[0]
    assert names.asked == ["img.test"]
    assert internet.reached == [(ADDRESS, 443)]
    assert internet.called == ["img.test"]


async def test_a_name_that_turns_inside_between_two_tries_is_caught(
    fetcher: Made, internet: Internet, trusting: ssl.SSLContext, pauses: Pauses
) -> None:
    names = Names(ADDRESS, "127.0.0.1")
    async with Peer(once(answer(503)), OK, context=internet.context) as peer:
        internet.port = peer.port
        fetching = fetcher(private=False, resolver=names, ssl_context=trusting)
        reason = await trouble(fetching, "https://img.test/a.png")
        assert reason == "the image's host 'img.test' has the address 127.0.0.1, not a public one"
        assert peer.accepted == 1
    assert internet.reached == [(ADDRESS, 443)]
    assert pauses == [0.5]


@pytest.mark.parametrize("bad", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1"])
async def test_nothing_is_connected_to_if_one_address_is_bad(
    fetcher: Made, internet: Internet, pauses: Pauses, bad: str
) -> None:
    for addresses in ((bad,), (ADDRESS, bad), (bad, ADDRESS)):
        with pytest.raises(LinkRefused):
            await fetcher(private=False, resolver=Names(addresses)).fetch("https://img.test/a.png")
    assert internet.reached == []
    assert pauses == []


async def test_a_redirect_to_an_allowed_name_that_leads_inside_is_caught(
    fetcher: Made, internet: Internet, trusting: ssl.SSLContext
) -> None:
    names = Names(ADDRESS, OTHER, "192.168.0.1")
    async with Peer(moved("https://store.cdn.test/b"), moved("https://img.test/c"), context=internet.context) as peer:
        internet.port = peer.port
        fetching = fetcher(private=False, resolver=names, ssl_context=trusting)
        assert "192.168.0.1" in await trouble(fetching, "https://img.test/a.png")
    assert names.asked == ["img.test", "store.cdn.test", "img.test"]
    assert internet.reached == [(ADDRESS, 443), (OTHER, 443)]
    assert internet.called == ["img.test", "store.cdn.test"]


@pytest.mark.parametrize("place", ["http://img.test/", "https://img.test:8443/", "https://10.0.0.1/"])
async def test_a_redirect_may_not_lead_out_of_tls_or_to_another_port(
    fetcher: Made, internet: Internet, trusting: ssl.SSLContext, place: str
) -> None:
    async with Peer(moved(place), context=internet.context) as peer:
        internet.port = peer.port
        fetching = fetcher(private=False, resolver=Names(ADDRESS), ssl_context=trusting)
        with pytest.raises(LinkRefused):
            await fetching.fetch("https://img.test/a.png")
    assert len(internet.reached) == 1


async def test_a_certificate_of_nobody_we_trust_ends_it(fetcher: Made, internet: Internet) -> None:
    async with Peer(OK, context=internet.context) as peer:
        internet.port = peer.port
        fetching = fetcher(private=False, resolver=Names(ADDRESS))
        assert "tls_error" in await trouble(fetching, "https://img.test/a.png")
        assert peer.requests == []


async def test_what_is_refused_is_not_even_looked_up(fetcher: Made) -> None:
    names = Names(ADDRESS)
    fetching = fetcher(private=False, resolver=names)
    for url in ("https://evil.test/", "http://img.test/", "https://img.test@evil.test/", "https://img.test:80/"):
        with pytest.raises(LinkRefused):
            await fetching.fetch(url)
    assert names.asked == []


# Any public host, as is the default, and what becomes of the link


async def test_any_public_host_is_asked_over_tls(fetcher: Made, internet: Internet, trusting: ssl.SSLContext) -> None:
    names = Names(ADDRESS)
    async with Peer(OK, context=internet.context) as peer:
        internet.port = peer.port
        fetching = fetcher("*", private=False, resolver=names, ssl_context=trusting)
        assert await fetching.fetch("https://store.cdn.test/a.png") == PNG
    assert internet.reached == [(ADDRESS, 443)]


async def fate(fetching: ResultFetcher, url: str) -> str:
    """What becomes of a link that was not fetched: ``forbidden``, or ``given`` to the client."""
    with pytest.raises(ResultUnavailable) as caught:
        await fetching.fetch(url)
    return "forbidden" if isinstance(caught.value, LinkForbidden) else "given"


@pytest.mark.parametrize(
    ("place", "becomes"),
    [
        ("https://store.cdn.test/loop", "given"),
        ("http://store.cdn.test/b", "given"),
        ("https://store.cdn.test:8443/b", "given"),
        ("https://upstream.test/b", "given"),
        ("https://10.0.0.1/b", "forbidden"),
        ("http://169.254.169.254/latest/secret", "forbidden"),
        ("https://localhost/b", "forbidden"),
        ("https://user@store.cdn.test/b", "forbidden"),
        ("https://ours.test/b", "forbidden"),
        ("file:///etc/passwd", "forbidden"),
    ],
)
async def test_where_a_redirect_leads_decides_what_becomes_of_the_link(
    fetcher: Made, internet: Internet, trusting: ssl.SSLContext, place: str, becomes: str
) -> None:
    async with Peer(moved(place), context=internet.context) as peer:
        internet.port = peer.port
        fetching = fetcher("*", private=False, resolver=Names(ADDRESS), ssl_context=trusting)
        fetching.surroundings = Surroundings(names=frozenset({"ours.test"}), upstreams=frozenset({"upstream.test"}))
        assert await fate(fetching, "https://img.test/a.png") == becomes
    assert len(internet.reached) == (4 if "loop" in place else 1)


async def test_names_that_lead_inside_are_forbidden_and_names_that_lead_nowhere_are_given(fetcher: Made) -> None:
    async def nowhere(host: str, port: int) -> list[Address]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    for resolver, becomes in (
        (nowhere, "given"),
        (Names("127.0.0.1"), "forbidden"),
        (Names((ADDRESS, "10.0.0.1")), "forbidden"),
        (Names("::ffff:169.254.169.254"), "forbidden"),
    ):
        fetching = fetcher("*", private=False, resolver=resolver)
        assert await fate(fetching, "https://rebound.example/a.png") == becomes


async def test_a_host_that_is_not_on_a_narrower_list_is_given_without_a_look_up(fetcher: Made) -> None:
    names = Names("127.0.0.1")
    assert await fate(fetcher(private=False, resolver=names), "https://elsewhere.example/a.png") == "given"
    assert names.asked == []


async def test_a_look_up_without_end_keeps_no_upstream_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of image hosts are chosen by others: they are looked up on threads of their own."""
    threads: list[str] = []
    go_on = threading.Event()

    def slow(host: str, port: int, *_: object, flags: int = 0, **__: object) -> list[object]:
        if flags:
            raise socket.gaierror(socket.EAI_NONAME, "not an address")
        threads.append(threading.current_thread().name)
        go_on.wait(5)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(dialer.socket, "getaddrinfo", slow)
    fetching = ResultFetcher(("*",), False, ssl_context=CONTEXT, limits=FetchLimits(total=0.05))
    try:
        with pytest.raises(ResultUnavailable, match="did not come within"):
            await fetching.fetch("https://slow.example/a.png")
    finally:
        go_on.set()
        await fetching.close()
    assert [name.startswith("image-hosts") for name in threads] == [True]
