"""Which pages may call and read, what a browser is told, and what a page gets with every kind of answer."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from gateway.core.errors import ClientError
from gateway.core.headers import Header
from gateway.server.browser_guard import BrowserGuard, refuse_pages
from gateway.server.cors import EXPOSED, CrossOrigin
from gateway.server.dispatch import Dispatch
from tests.heads import request_of
from tests.in_force import Settings
from tests.raw_client import Answer, RawClient
from tests.server.test_dispatch import Admission

LISTED = frozenset({"https://app.example", "http://10.0.0.5:3000", "app://obsidian.md", "chrome-extension://abcdef"})

# origin → may it call (while no key is asked for, while one is)
ORIGINS = {
    "https://app.example": (True, True),
    "https://app.example:443": (True, True),
    "HTTPS://App.Example": (True, True),
    "http://10.0.0.5:3000": (True, True),
    "app://obsidian.md": (True, True),
    "chrome-extension://abcdef": (True, True),
    "app://another": (True, False),
    "tauri://localhost": (True, False),
    "vscode-file://vscode-app": (True, False),
    "http://tauri.localhost": (True, False),
    "http://localhost:3000": (True, False),
    "https://127.0.0.1": (True, False),
    "http://[::1]:5173": (True, False),
    "null": (False, False),
    "": (False, False),
    "file://": (False, False),
    "*": (False, False),
    "https://app.example.evil": (False, False),
    "https://evil.example": (False, False),
    "http://app.example": (False, False),
    "https://app.example:8443": (False, False),
    "https://sub.app.example": (False, False),
    "http://10.0.0.5": (False, False),
    "http://localhost.evil": (False, False),
    "http://host.docker.internal": (False, False),
    "evil://localhost": (False, False),
    "chrome-extension://other": (False, False),
    "capacitor://localhost": (False, False),
    "https://app": (False, False),
    "app:/x": (False, False),
}


def pages(*, opened: bool) -> CrossOrigin:
    return CrossOrigin(lambda: opened, Settings(cors_origins=LISTED))


@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("opened", [True, False])
def test_a_page_may_call_if_it_is_listed_or_needs_no_key(origin: str, opened: bool) -> None:
    may = ORIGINS[origin][0 if opened else 1]
    told = dict(pages(opened=opened).answer_headers(origin.encode()))
    assert (told.get(b"access-control-allow-origin") == origin.encode()) is may
    assert bool(told) is may
    assert b"access-control-allow-credentials" not in told


@pytest.mark.parametrize("origin", [origin for origin, (may, _) in ORIGINS.items() if may])
def test_the_guard_lets_the_same_pages_in_and_believes_no_other_site(origin: str) -> None:
    headers = [(b"host", b"localhost"), (b"origin", origin.encode()), (b"sec-fetch-site", b"cross-site")]
    refuse_pages("POST", [*headers, (b"content-type", b"application/json")], (), pages(opened=True))
    refuse_pages("GET", headers, (), pages(opened=True))


@pytest.mark.parametrize("origin", [origin for origin, (may, _) in ORIGINS.items() if not may])
def test_the_guard_refuses_all_others_and_names_the_setting(origin: str) -> None:
    headers = [(b"host", b"localhost"), (b"origin", origin.encode()), (b"content-type", b"application/json")]
    with pytest.raises(ClientError, match=r"cors\.origins") as refused:
        refuse_pages("POST", headers, (), pages(opened=True))
    assert refused.value.code == "foreign_origin"


@pytest.mark.parametrize(
    ("origin", "more", "status"),
    [
        ("https://app.example", (b"content-type", b"multipart/form-data; boundary=x"), 200),  # listed: a form may come
        ("app://another", (b"content-type", b"text/plain"), 200),
        ("http://localhost:3000", (b"content-type", b"multipart/form-data; boundary=x"), 415),
        ("http://localhost:3000", (b"authorization", b"Bearer x"), 200),  # which needed a preflight
    ],
)
def test_what_needs_no_preflight_is_taken_from_trusted_pages_only(origin: str, more: Header, status: int) -> None:
    with nullcontext() if status == 200 else pytest.raises(ClientError) as refused:
        refuse_pages("POST", [(b"origin", origin.encode()), more], (), pages(opened=True))
    assert (200 if refused is None else refused.value.status) == status


def preflight(*more: Header, origin: bytes = b"https://app.example") -> dict[bytes, bytes]:
    asked = [(b"origin", origin), (b"access-control-request-method", b"POST"), *more]
    granted = pages(opened=False).preflight(request_of(asked))
    assert granted is not None
    return {name: value for name, value in granted if name != b"vary"}


def test_a_preflight_is_granted_what_it_asks_for() -> None:
    wanted = b"authorization,content-type, X-Stainless-Retry-Count,x-stainless-os"
    told = preflight((b"access-control-request-headers", wanted))
    assert told[b"access-control-allow-headers"] == (
        b"authorization, content-type, x-stainless-retry-count, x-stainless-os"
    )
    for method in (b"GET", b"POST", b"DELETE"):
        assert method in told[b"access-control-allow-methods"]
    assert int(told[b"access-control-max-age"]) > 0
    assert b"access-control-allow-private-network" not in told
    told = preflight((b"access-control-request-private-network", b"true"))
    assert told[b"access-control-allow-private-network"] == b"true"


@pytest.mark.parametrize(
    "wanted", [b"", b",", b"a b", b"x: y", b"\xff", b"x\x00", b"a" * 129, b"a," * 65, b"x" * 5000, b"(comment)"]
)
def test_what_is_no_list_of_headers_is_not_repeated(wanted: bytes) -> None:
    told = preflight((b"access-control-request-headers", wanted))
    assert told[b"access-control-allow-headers"] == b"authorization, content-type, x-api-key, api-key, x-request-id"


def test_options_without_a_page_or_its_method_is_no_preflight() -> None:
    cors = pages(opened=True)
    assert cors.preflight(request_of([(b"origin", b"https://evil.example")])) is None
    assert cors.preflight(request_of([(b"access-control-request-method", b"POST")])) is None


class Shop(Admission):
    """The gateway of test_dispatch, which pages may call. ``opened``: no key is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = False
        settings = Settings(cors_origins=LISTED)
        cors = CrossOrigin(lambda: self.opened, settings)
        guard = BrowserGuard(lambda: self.opened, settings, cors)
        self.app = Dispatch(self.own, self.cold_routes, lambda *_: None, guard, cors)
        self.cors = cors


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
async def client(shop: Shop, serve, connect) -> RawClient:
    return await connect(await serve(shop.app, cors=shop.cors.answer_headers))


def readable(answer: Answer, origin: str) -> bool:
    """Whether the browser gives the answer to the page, with all the headers that it may want."""
    assert answer.header("access-control-allow-credentials") is None
    allowed = [value for name, value in answer.headers if name == "access-control-allow-origin"]
    if not allowed:
        return False
    assert allowed == [origin]
    assert "origin" in ", ".join(value for name, value in answer.headers if name == "vary")
    assert (answer.header("access-control-expose-headers") or "").split(", ") == list(EXPOSED)
    return True


ORIGIN = "https://app.example"
PREFLIGHT = ("Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization,content-type")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/chat/completions/", "/v1/models", "/healthz", "/nothing"])
@pytest.mark.parametrize("opened", [True, False])
async def test_a_listed_pages_preflight_needs_no_key_and_no_route(shop, client, path, opened) -> None:
    shop.opened = opened
    answer = await client.request("OPTIONS", path, b"", f"Origin: {ORIGIN}", *PREFLIGHT)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.header("content-length") is None
    assert readable(answer, ORIGIN)
    assert answer.header("access-control-allow-headers") == "authorization, content-type"
    answer = await client.request("GET", "/healthz")  # the connection goes on
    assert not readable(answer, ORIGIN)


@pytest.mark.parametrize("opened", [True, False])
@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
async def test_another_pages_preflight_is_refused_with_the_name_of_the_setting(shop, client, origin, opened) -> None:
    shop.opened = opened
    answer = await client.request("OPTIONS", "/v1/chat/completions", b"", f"Origin: {origin}", *PREFLIGHT)
    assert answer.status == 403
    assert answer.error()["code"] == "foreign_origin"
    assert "cors.origins" in answer.error()["message"]
    assert not [name for name, _ in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/models", 401),
        ("GET", "/v1/models/x", 401),
        ("GET", "/nothing", 404),
        ("DELETE", "/v1/models", 405),
        ("GET", "/healthz", 200),
        ("HEAD", "/healthz", 200),
        ("POST", "/v1/chat/completions", 200),
        ("OPTIONS", "/v1/models", 204),
    ],
)
async def test_a_page_can_read_every_answer(client, method, path, status) -> None:
    answer = await client.request(method, path, b"", f"Origin: {ORIGIN}")
    assert answer.status == status
    assert readable(answer, ORIGIN)
    assert not readable(await client.request(method, path, b"", "Origin: https://evil.example"), ORIGIN)


async def test_a_page_can_read_streams_and_crashes(shop, client) -> None:
    shop.raises = ZeroDivisionError()
    answer = await client.request("POST", "/v1/chat/completions", b"{}", f"Origin: {ORIGIN}")
    assert answer.status == 500
    assert readable(answer, ORIGIN)
    shop.before = ["start"]
    answer = await client.request("POST", "/v1/chat/completions", b"{}", f"Origin: {ORIGIN}")
    assert answer.is_stream
    assert readable(answer, ORIGIN)


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ("Host: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Host: a\r\nX: " + "x" * 40_000 + "\r\n", 431),
        ("", 400),
    ],
)
async def test_a_page_can_read_what_the_connection_itself_refuses(client, lines, status) -> None:
    await client.send(f"POST /v1/models HTTP/1.1\r\nOrigin: {ORIGIN}\r\n{lines}\r\n".encode())
    answer = await client.answer()
    assert answer.status == status
    assert readable(answer, ORIGIN)


async def test_of_two_origins_none_is_believed(client) -> None:
    answer = await client.request("GET", "/healthz", b"", f"Origin: {ORIGIN}", f"Origin: {ORIGIN}")
    assert not readable(answer, ORIGIN)


@pytest.mark.parametrize(
    ("path", "allow"), [("/v1/models", "GET, HEAD, OPTIONS"), ("/chat/completions", "OPTIONS, POST")]
)
async def test_options_by_a_program_tells_what_a_route_can_do(client, path, allow) -> None:
    answer = await client.request("OPTIONS", path)
    assert (answer.status, answer.header("allow")) == (204, allow)
    assert (await client.request("OPTIONS", "/nothing")).error()["code"] == "unknown_url"
