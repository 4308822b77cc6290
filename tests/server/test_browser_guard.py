"""What a web page can and cannot make a listener do that asks for no key."""

from __future__ import annotations

import pytest

from gateway.core.errors import ClientError
from gateway.endpoints.health import health_routes
from gateway.server.browser_guard import AdminGuard, BrowserGuard, refuse_pages
from gateway.server.dispatch import Dispatch
from gateway.server.origins import is_origin_of
from tests.heads import request_of
from tests.in_force import Settings
from tests.raw_client import Answer, RawClient

JSON = (b"content-type", b"application/json")
TEXT = (b"content-type", b"text/plain;charset=UTF-8")


def verdict(*headers: tuple[bytes, bytes], method: str = "POST", hosts: frozenset[str] = frozenset()) -> int:
    """The status of the refusal, 200 without one. The Host is ours unless there is one among ``headers``."""
    if not any(name == b"host" for name, _ in headers):
        headers = ((b"host", b"127.0.0.1:8400"), *headers)
    try:
        refuse_pages(method, headers, hosts)
    except ClientError as error:
        return error.status
    return 200


@pytest.mark.parametrize(
    "host",
    [
        b"host.docker.internal:8400",
        b"gateway.localhost",
        b"A.B.LocalHost.:8400",
        b"localhost",
        b"localhost:8400",
        b"LocalHost.:8400",
        b"127.0.0.1",
        b"127.8.9.1:80",
        b"[::1]:8400",
        b"[::1]",
    ],
)
def test_names_of_this_machine(host: bytes) -> None:
    assert verdict((b"host", host)) == 200


@pytest.mark.parametrize(
    "host",
    [
        b"evil.example",
        b"evil.example:8400",
        b"localhost.evil.example",
        b"127.0.0.1.evil.example",
        b"evil-localhost",
        b"evillocalhost",
        b"docker.internal",
        b"evil.host.docker.internal",
        b"host.docker.internal.evil.example",
        b"10.0.0.1:8400",
        b"0.0.0.0:8400",
        b"[fe80::1]:8400",
        b"2130706433",
    ],
)
def test_a_name_that_somebody_pointed_here_is_not_ours(host: bytes) -> None:
    assert verdict((b"host", host)) == 403
    assert verdict((b"host", host), method="GET") == 403


def test_a_configured_name_is_ours() -> None:
    hosts = frozenset({"gateway.example", "::2"})
    assert verdict((b"host", b"Gateway.Example:8400"), hosts=hosts) == 200
    assert verdict((b"host", b"[::2]:8400"), hosts=hosts) == 200
    assert verdict((b"host", b"other.example"), hosts=hosts) == 403


@pytest.mark.parametrize(
    "origin",
    [
        b"https://evil.example",
        b"http://localhost.evil.example",
        b"null",
        b"",
        b"file://",
        b"localhost",
        b"evil://localhost",
    ],
)
def test_a_page_from_elsewhere_is_refused_whatever_it_sends(origin: bytes) -> None:
    assert verdict((b"origin", origin), JSON) == 403
    assert verdict((b"origin", b"http://localhost"), (b"origin", origin), JSON) == 403


def test_what_the_browser_calls_cross_site_is_refused_without_an_origin_too() -> None:
    assert verdict((b"sec-fetch-site", b"cross-site"), method="GET") == 403
    assert verdict((b"sec-fetch-site", b"none"), method="GET") == 200


@pytest.mark.parametrize("origin", [b"http://localhost:3000", b"http://127.0.0.1", b"https://[::1]:8443"])
def test_a_page_of_this_machine_must_send_what_needs_a_preflight(origin: bytes) -> None:
    assert verdict((b"origin", origin), JSON) == 200
    assert verdict((b"origin", origin), (b"content-type", b"Application/JSON; charset=utf-8")) == 200
    for content_type in (b"text/plain", b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=x"):
        assert verdict((b"origin", origin), (b"content-type", content_type)) == 415
    assert verdict((b"origin", origin)) == 415  # a Blob without a type
    assert verdict((b"origin", origin), method="GET") == 200


def test_a_program_may_call_its_body_what_it_likes() -> None:
    assert verdict((b"content-type", b"application/x-www-form-urlencoded")) == 200  # what curl -d says
    assert verdict(TEXT) == 200
    assert verdict() == 200


class Shop:
    """A listener on which every POST buys. ``opened``: it asks for no key."""

    def __init__(self) -> None:
        self.opened = True
        self.bought = 0
        guard = BrowserGuard(lambda: self.opened, Settings(hosts=("gateway.example",)))
        self.app = Dispatch(
            {
                "/v1/chat/completions": {"POST": self.buy},
                "/webhooks/secret": {"POST": self.buy},
                **health_routes(list),
            },
            [],
            lambda *_: None,
            guard,
            secret=("/webhooks/",),
        )

    async def buy(self, request, client):
        self.bought += 1
        await client.respond(200, (), b"{}")


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
async def client(shop: Shop, serve, connect) -> RawClient:
    return await connect(await serve(shop.app))


async def ask(client: RawClient, host: str, *headers: str, path: str = "/v1/chat/completions") -> Answer:
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", "Content-Length: 2", *headers]
    await client.send("\r\n".join(lines).encode() + b"\r\n\r\n{}")
    return await client.answer()


async def test_a_web_page_cannot_buy_anything_where_no_key_is_asked_for(shop: Shop, client: RawClient) -> None:
    for host, *headers in (
        ("evil.example", "Origin: https://evil.example", "Content-Type: text/plain"),
        ("evil.example", "Content-Type: application/json"),  # its name now leads here: the same origin
        ("127.0.0.1", "Origin: https://evil.example", "Content-Type: text/plain"),
    ):
        answer = await ask(client, host, *headers)
        assert answer.status == 403
        assert answer.error()["code"] == "foreign_origin"
        assert answer.error()["type"] == "permission_error"
        assert answer.header("access-control-allow-origin") is None
    assert shop.bought == 0
    assert (await ask(client, "gateway.example")).status == 200
    assert (await ask(client, "localhost:8400", "Content-Type: application/x-www-form-urlencoded")).status == 200
    assert shop.bought == 2


async def test_ordinary_routes_are_guarded_as_well(client: RawClient) -> None:
    await client.send(b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n")
    assert (await client.answer()).error()["code"] == "foreign_origin"
    assert (await client.request("GET", "/healthz")).status == 200


async def test_where_a_key_is_asked_for_any_name_will_do(shop: Shop, client: RawClient) -> None:
    """Behind a reverse proxy or in a container the gateway cannot know its names. The key is what keeps pages out."""
    shop.opened = False
    assert (await ask(client, "api.example", "Origin: https://app.example")).status == 200
    shop.opened = True
    assert (await ask(client, "api.example")).status == 403


async def test_what_is_a_secret_itself_may_be_asked_for_under_any_name(shop: Shop, client: RawClient) -> None:
    """A webhook comes from outside, under the name the gateway has there."""
    assert (await ask(client, "gateway.public.example", path="/webhooks/secret")).status == 200
    assert (await ask(client, "gateway.public.example", path="/webhooks")).status == 403


def admitted(host: bytes, *headers: tuple[bytes, bytes], method: str = "GET", keyed: bool, loopback: bool) -> int:
    """What the guard of an admin listener says: 200, or the status of its refusal."""
    guard = AdminGuard(Settings(admin_hosts=("gateway.example",), admin_key="a-key" if keyed else None), loopback)
    try:
        guard.check(request_of([(b"host", host), *headers], method=method))
    except ClientError as error:
        return error.status if error.code == "foreign_origin" else 0
    return 200


@pytest.mark.parametrize(
    ("host", "keyless", "keyed", "apart"),
    [
        (b"localhost:8401", 200, 200, 200),
        (b"[::1]", 200, 200, 200),
        (b"Gateway.Example.:8401", 200, 200, 200),
        (b"10.1.2.3:8401", 403, 200, 200),
        (b"[2001:db8::7]:8401", 403, 200, 200),
        (b"gateway:8401", 403, 403, 200),
        (b"gateway.team.svc:8401", 403, 403, 200),
        (b"gateway.internal", 403, 403, 200),
        (b"evil.example", 403, 403, 403),
        (b"gateway.internal.evil.example", 403, 403, 403),
        (b"10.1.2.3.nip.io", 403, 403, 403),
        (b"xinternal.example", 403, 403, 403),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_names_of_an_admin_listener(host: bytes, keyless: int, keyed: int, apart: int, method: str) -> None:
    """On this machine without a key and with one, and beyond this machine, where there always is one."""
    assert admitted(host, method=method, keyed=False, loopback=True) == keyless
    assert admitted(host, method=method, keyed=True, loopback=True) == keyed
    assert admitted(host, method=method, keyed=True, loopback=False) == apart


def test_a_foreign_page_writes_nothing_there_with_a_key_either() -> None:
    foreign = [(b"origin", b"https://evil.example")], [(b"origin", b"null")], [(b"sec-fetch-site", b"cross-site")]
    for headers in foreign:
        for method in ("POST", "PATCH", "DELETE", "PUT"):
            with_key = [*headers, (b"authorization", b"Bearer x"), JSON]
            assert admitted(b"localhost", *with_key, method=method, keyed=True, loopback=True) == 403
        assert admitted(b"localhost", *headers, keyed=True, loopback=True) == 200, "what it reads is not shown to it"
        assert admitted(b"localhost", *headers, keyed=False, loopback=True) == 403


@pytest.mark.parametrize(
    ("origin", "host", "own"),
    [
        (b"http://localhost:8401", b"localhost:8401", True),
        (b"HTTP://LocalHost:8401", b"localhost:8401", True),
        (b"https://gateway.example", b"gateway.example", True),
        (b"https://gateway.example", b"gateway.example:443", True),
        (b"http://gateway.example:80", b"gateway.example", True),
        (b"http://[::1]:8401", b"[::1]:8401", True),
        (b"http://localhost:3000", b"localhost:8401", False),
        (b"http://127.0.0.1:8401", b"localhost:8401", False),
        (b"https://gateway.example", b"gateway.example:80", False),
        (b"http://localhost:8401.evil.example", b"localhost:8401", False),
        (b"http://localhost:8401/", b"localhost:8401", False),
        (b"ftp://localhost:8401", b"localhost:8401", False),
        (b"localhost:8401", b"localhost:8401", False),
        (b"null", b"null", False),
        (b"null", b"", False),
        (b"", b"", False),
    ],
)
def test_a_page_is_our_own_if_it_was_asked_for_under_this_very_host(origin: bytes, host: bytes, own: bool) -> None:
    assert is_origin_of(origin, host) is own


FORM = (b"content-type", b"application/x-www-form-urlencoded")


@pytest.mark.parametrize("keyed", [False, True])
def test_an_admin_listeners_own_pages_send_it_forms_and_no_other_page_does(keyed: bool) -> None:
    own = (b"origin", b"http://localhost:8401"), (b"sec-fetch-site", b"same-origin"), FORM
    assert admitted(b"localhost:8401", *own, method="POST", keyed=keyed, loopback=True) == 200
    other = (b"origin", b"http://localhost:3000"), (b"sec-fetch-site", b"same-site"), FORM
    assert admitted(b"localhost:8401", *other, method="POST", keyed=keyed, loopback=True) == 0
    rebound = (b"origin", b"http://evil.example:8401"), FORM
    assert admitted(b"evil.example:8401", *rebound, method="POST", keyed=keyed, loopback=True) == 403
    between = (b"origin", b"http://localhost:8401"), (b"sec-fetch-site", b"cross-site"), FORM
    assert admitted(b"localhost:8401", *between, method="POST", keyed=keyed, loopback=True) == 403


def test_a_link_from_anywhere_may_lead_to_its_pages_and_nothing_else_from_there_may() -> None:
    opened = (b"sec-fetch-site", b"cross-site"), (b"sec-fetch-mode", b"navigate"), (b"sec-fetch-dest", b"document")
    framed = *opened[:2], (b"sec-fetch-dest", b"iframe")
    picture = opened[0], (b"sec-fetch-mode", b"no-cors"), (b"sec-fetch-dest", b"image")
    assert admitted(b"localhost", *opened, keyed=False, loopback=True) == 200
    assert admitted(b"evil.example", *opened, keyed=False, loopback=True) == 403
    for headers in (framed, picture):
        assert admitted(b"localhost", *headers, keyed=False, loopback=True) == 403
    for keyed in (False, True):
        assert admitted(b"localhost", *opened, method="POST", keyed=keyed, loopback=True) == 403
