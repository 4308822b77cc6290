"""Where a browser is led after it has signed in, and which form is taken from whom."""

from __future__ import annotations

from itertools import count
from urllib.parse import urlencode, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.console.forms import Form
from gateway.console.session import NAME, RENEWED_AFTER, Sessions
from gateway.console.visitors import FORM_TOKEN, ConsoleDoor, Visitor, own_page
from gateway.core.errors import ClientError, GatewayError
from gateway.endpoints.admin.door import AdminDoor
from gateway.server.request import Request
from tests.heads import request_of
from tests.in_force import Settings

KEY = "admin-0123456789abcdef"
HERE = "http://localhost:8401/console/sign-in"


@pytest.mark.parametrize(
    "path",
    [
        "/console/keys",
        "/console/keys/carol?saved=yes",
        "/console/jobs/carol/job_1",
        "/console/requests?key=a%20b+c&x=1",
    ],
)
def test_a_page_of_the_console_is_led_to(path: str) -> None:
    assert own_page(path) == path


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", "//evil.example", "https://evil.example", "/\\evil.example", "/console", "/consoles/x"),
        *(
            "console/keys",
            "javascript:alert(1)",
            "/console/\r\nSet-Cookie: a=b",
            "/console/keys\n",
            "/console/é",
            "/console/a b",
        ),
        *("/console/@evil.example", "/console/\\evil", "/console/#x", " /console/keys", "/console/" + "a" * 501),
        *("/admin/v1/reload", "/metrics"),
    ],
)
def test_anything_else_is_the_first_page(path: str) -> None:
    assert own_page(path) == "/"


@given(path=st.text(max_size=30) | st.text("/.\\@:%?#evil", max_size=30).map(lambda rest: f"/console/{rest}"))
def test_no_text_leads_to_another_host(path: str) -> None:
    led = urlsplit(urljoin(HERE, own_page(path)))
    assert (led.scheme, led.netloc) == ("http", "localhost:8401")


def door(key: str | None = KEY) -> ConsoleDoor:
    settings = Settings(admin_key=key)
    admin = AdminDoor(settings, lambda _: "192.0.2.1", count(0.0, 0.01).__next__)
    return ConsoleDoor(admin, Sessions(lambda: key or "", lambda: 1_900_000_000 * 10**9), lambda: bool(key))


def asked(*headers: tuple[bytes, bytes], **fields: str) -> Request:
    form = (b"content-type", b"application/x-www-form-urlencoded")
    return request_of([form, *headers], method="POST", body=urlencode(fields).encode())


async def signed_in(console: ConsoleDoor) -> bytes:
    """The cookie as a browser sends it back."""
    return (await sign_in(console)).partition(b";")[0]


async def sign_in(console: ConsoleDoor, *headers: tuple[bytes, bytes], key: str = KEY) -> bytes:
    form: Form = {"key": key}
    return await console.sign_in(asked(*headers), form)


async def test_the_admin_key_gives_a_session() -> None:
    assert (await sign_in(door(), key=f" {KEY}\n")).startswith(NAME.encode() + b"=")
    at_a_port = await sign_in(door(), (b"host", b"localhost:8401"))
    assert at_a_port.startswith(NAME.encode() + b"_8401=")


async def test_without_an_admin_key_there_is_nothing_to_sign_in_with() -> None:
    assert await sign_in(door(None), key="whatever it was") == b""


@pytest.mark.parametrize(("origin", "secure"), [(b"https://gateway.example", True), (b"http://localhost:8401", False)])
async def test_only_a_page_that_came_by_https_gets_a_cookie_for_https_alone(origin: bytes, secure: bool) -> None:
    assert (await sign_in(door(), (b"origin", origin))).endswith(b"; Secure") is secure


async def test_a_form_counts_for_the_session_that_it_was_made_for() -> None:
    console = door()
    mine, other = [await console.visitor(request_of([(b"cookie", await signed_in(console))])) for _ in range(2)]
    assert mine is not None
    assert other is not None
    assert mine.session is not None
    assert (await console.form(asked(**{FORM_TOKEN: mine.form_token, "name": "carol"}), mine))["name"] == "carol"
    for token in ("", other.form_token, mine.form_token[:-1], mine.form_token.upper(), "é"):
        with pytest.raises(ClientError) as raised:
            await console.form(asked(**{FORM_TOKEN: token}), mine)
        assert (raised.value.status, raised.value.code) == (403, "foreign_form")
    with pytest.raises(ClientError):
        await console.form(asked(), mine)


async def test_a_session_that_was_signed_out_of_is_over() -> None:
    console = door()
    cookie = (b"cookie", await signed_in(console))
    visitor = await console.visitor(request_of([cookie]))
    assert visitor is not None
    assert b"Max-Age=0" in console.sign_out(asked(), visitor)
    assert await console.visitor(request_of([cookie])) is None


async def test_a_page_that_stays_up_to_date_by_itself_keeps_no_session_alive() -> None:
    now_ns = [1_900_000_000 * 10**9]
    admin = AdminDoor(Settings(admin_key=KEY), lambda _: "192.0.2.1", count(0.0).__next__)
    console = ConsoleDoor(admin, Sessions(lambda: KEY, lambda: now_ns[0]), lambda: True)
    cookie = (b"cookie", (await sign_in(console)).partition(b";")[0])
    now_ns[0] += RENEWED_AFTER * 10**9
    by_a_script = await console.visitor(request_of([cookie, (b"x-console-refresh", b"1")]))
    opened = await console.visitor(request_of([cookie]))
    assert by_a_script is not None
    assert opened is not None
    assert by_a_script.cookie == b""
    assert opened.cookie


async def test_a_cookie_that_another_server_of_the_machine_has_set_shuts_no_one_out() -> None:
    console = door()
    cookie = await signed_in(console)
    assert await console.visitor(request_of([(b"cookie", NAME.encode() + b"=junk; " + cookie)]))


async def test_a_bearer_token_needs_no_session_and_a_session_no_bearer_token() -> None:
    console = door()
    cookie = (b"cookie", await signed_in(console))
    visitor = await console.visitor(request_of([(b"authorization", b"Bearer " + KEY.encode())]))
    assert visitor == Visitor("console, admin key")
    of_a_proxy = (b"authorization", b"Basic d2hvOmtub3dz")
    assert await console.visitor(request_of([cookie, of_a_proxy]))
    assert await console.visitor(request_of([of_a_proxy])) is None
    with pytest.raises(ClientError) as raised:
        await console.visitor(request_of([(b"authorization", b"Bearer wrong")]))
    assert raised.value.status == 401


async def test_without_an_admin_key_everyone_here_is_let_in() -> None:
    assert await door(None).visitor(request_of()) == Visitor("console, admin API without a key")
    assert await door().visitor(request_of()) is None


async def test_many_wrong_keys_are_told_to_wait_and_the_right_one_is_not() -> None:
    console, statuses = door(), set()
    for _ in range(40):
        with pytest.raises(GatewayError) as raised:
            await sign_in(console, key="wrong")
        statuses.add(raised.value.status)
    assert statuses == {401, 429}
    assert await signed_in(console)


@pytest.mark.parametrize("scheme", [b"https", b"http"])
async def test_a_cookie_that_is_renewed_goes_no_other_way_than_the_first(scheme: bytes) -> None:
    """The page that brings it was opened, not sent, so it names no Origin."""
    now_ns = [1_900_000_000 * 10**9]
    admin = AdminDoor(Settings(admin_key=KEY), lambda _: "192.0.2.1", count(0.0).__next__)
    console = ConsoleDoor(admin, Sessions(lambda: KEY, lambda: now_ns[0]), lambda: True)
    origin = (b"origin", scheme + b"://gateway.example")
    first = await sign_in(console, origin)
    now_ns[0] += RENEWED_AFTER * 10**9
    visitor = await console.visitor(request_of([(b"cookie", first.partition(b";")[0])]))
    assert visitor is not None
    again = visitor.cookie
    assert again.partition(b"=")[0] == first.partition(b"=")[0]
    assert again.endswith(b"; Secure") is first.endswith(b"; Secure") is (scheme == b"https")
    assert console.sign_out(asked(origin), visitor).partition(b"=")[0] == first.partition(b"=")[0]
