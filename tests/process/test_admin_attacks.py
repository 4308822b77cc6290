"""Attacks on the doors of a gateway process, over raw sockets: silence, slow heads, floods of guesses, foreign names.

Beside each of them an operator with the key asks, on new connections, and is answered every time while the attack runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway.sandbox import Sandbox
from tests.base_config import ALICE
from tests.raw_client import RawClient, Received

from .running import PROGRAM, Gateway, command, settings, write

ADMIN_KEY = "operators-key-0123456789"
UPSTREAMS = "/admin/v1/upstreams"
KEYED = f"Authorization: Bearer {ADMIN_KEY}"
LIMITED = ("sh", "-c", 'ulimit -n 400; exec "$0" "$@"')
"""A machine that lets a process open few files: where slots are dearest."""


@asynccontextmanager
async def running(folder: Path, sandbox: Sandbox, program_line: Any = (), **over: Any) -> AsyncIterator[Gateway]:
    admin = {"listen": "127.0.0.1:0", "key": ADMIN_KEY} | over.pop("admin", {})
    write(folder, settings(sandbox, folder, admin=admin, **over))
    async with Gateway.serve(folder, program_line=(*program_line, PROGRAM)) as gateway:
        yield gateway


@pytest.fixture
async def gateway(tmp_path: Path, sandbox: Sandbox) -> AsyncIterator[Gateway]:
    async with running(tmp_path, sandbox) as found:
        yield found


async def exchange(place: str, *lines: str, body: bytes = b"") -> Received:
    """Send these lines as a request on a connection of its own, and read until it ends or is silent."""
    client = await RawClient.connect(place)
    try:
        await client.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        return await client.receive(quiet=20)
    finally:
        await client.close()


async def status(place: str, path: str, *lines: str, method: str = "GET", host: str = "localhost") -> int:
    """What a request on a new connection is answered with; it ends with the answer."""
    return (await exchange(place, f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *lines)).status


async def operator(gateway: Gateway) -> None:
    """Ask with the key, on a new connection: a page of JSON, and the metrics."""
    for path in (UPSTREAMS, "/metrics"):
        assert await status(gateway.admin, path, KEYED) == 200


async def served_beside(
    ask: Callable[[], Awaitable[None]], attack: Callable[[], Awaitable[None]], least: int = 5
) -> None:
    """Run the attack, and ask again and again until it is over, and ``least`` times in any case."""
    over = asyncio.Event()

    async def attacked() -> None:
        try:
            await attack()
        finally:
            over.set()

    async def asked() -> None:
        times = 0
        while not over.is_set() or times < least:
            await ask()
            times += 1

    await asyncio.gather(attacked(), asked())


async def opened(stack: AsyncExitStack, place: str, first: bytes = b"") -> RawClient | None:
    """A connection that stays open as long as the other side lets it."""
    try:
        client = await RawClient.connect(place)
    except OSError:
        return None
    stack.push_async_callback(client.leave)
    with contextlib.suppress(OSError):
        if first:
            await client.send(first)
    return client


HEADS = {
    "silent": b"",
    "half a head": b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-A: ",
    "a body that never comes": b"POST /admin/v1/keys HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n{",
    "half a PROXY header": b"PROXY TC",
    "an answer that nobody takes": b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@pytest.mark.parametrize("kind", HEADS)
async def test_a_thousand_connections_without_a_key_keep_no_operator_out(gateway: Gateway, kind: str) -> None:
    async with AsyncExitStack() as stack:

        async def attack() -> None:
            for _ in range(1000):
                await opened(stack, gateway.admin, HEADS[kind])

        await served_beside(partial(operator, gateway), attack)
        await operator(gateway)


async def test_few_files_are_enough_for_the_operator(tmp_path: Path, sandbox: Sandbox) -> None:
    """Both listeners are flooded at once, by more connections than the process can open files."""
    async with running(tmp_path, sandbox, LIMITED) as gateway, AsyncExitStack() as stack:

        async def attack() -> None:
            for number in range(600):
                await opened(stack, gateway.admin if number % 2 else gateway.url, b"GET /" * (number % 3))

        await served_beside(partial(operator, gateway), attack)
        await operator(gateway)
        models = await status(gateway.url, "/v1/models", f"Authorization: Bearer {ALICE}")
        assert models == 200, "nor is the main listener full of who asks nothing"
        assert gateway.process.returncode is None


async def test_a_connection_that_showed_its_key_outlives_the_flood(gateway: Gateway) -> None:
    scraper = await RawClient.connect(gateway.admin)
    assert (await scraper.request("GET", "/metrics", b"", KEYED)).status == 200
    async with AsyncExitStack() as stack:
        for _ in range(600):
            await opened(stack, gateway.admin)
        assert (await scraper.request("GET", "/metrics", b"", KEYED)).status == 200
    await scraper.close()


async def test_idle_scrapers_make_room_for_the_operator_too(gateway: Gateway) -> None:
    """Hundreds of connections that once showed the key, and were forgotten."""
    async with AsyncExitStack() as stack:
        for _ in range(400):
            client = await opened(stack, gateway.admin)
            assert client is not None
            assert (await client.request("GET", "/metrics", b"", KEYED)).status == 200
        await operator(gateway)


async def test_open_metrics_are_scraped_beside_a_flood(tmp_path: Path, sandbox: Sandbox) -> None:
    async with running(tmp_path, sandbox, admin={"open_metrics": True}) as gateway, AsyncExitStack() as stack:
        for number in range(1000):
            await opened(stack, gateway.admin, b"GET /metrics HTTP/1.1\r\n" * (number % 2))
            if number % 50 == 0:
                assert await status(gateway.admin, "/metrics") == 200
        await operator(gateway)


# Guesses


def wrong(number: int) -> str:
    return f"Authorization: Bearer a-wrong-guess-{number:08d}"


async def test_a_guesser_is_told_to_wait_and_the_operator_beside_it_is_not(gateway: Gateway) -> None:
    answers: list[Received] = []

    async def attack() -> None:
        for number in range(40):
            head = f"GET {UPSTREAMS} HTTP/1.1", "Host: localhost", wrong(number)
            answers.append(await exchange(gateway.admin, *head))

    await served_beside(partial(operator, gateway), attack)
    assert [one.status for one in answers] == [401] * 10 + [429] * 30
    assert {one.ending for one in answers} == {"fin"}, "each guess costs a connection"
    assert all(one.headers[b"connection"] == b"close" for one in answers)
    assert len({one.body for one in answers[:10]}) == 1
    assert len({one.body for one in answers[10:]}) == 1
    assert all(1 <= int(one.headers[b"retry-after"]) <= 60 for one in answers[10:])
    await operator(gateway)
    page = await exchange(gateway.admin, "GET /metrics HTTP/1.0", "Host: localhost", KEYED)
    assert b"\ngateway_admin_auth_failures_total 40.0\n" in page.after_head
    gateway.signal(signal.SIGTERM)
    assert await gateway.wait() == 0
    lines = gateway.events("admin_refused")
    assert len(lines) == 2, "one a minute, and the rest at the end"
    assert sum(line["number"] for line in lines) == 40
    assert {(line["address"], line["level"]) for line in lines} == {("127.0.0.1", "warning")}
    assert "a-wrong-guess" not in gateway.err.text + gateway.out.text
    assert gateway.events("refused") == []


async def test_guesses_from_everywhere_are_told_to_wait_together(tmp_path: Path, sandbox: Sandbox) -> None:
    """From many addresses, as a proxy that is believed tells them: v4, v6 within a /64, v4 within v6."""
    async with running(tmp_path, sandbox, trusted_proxies=["127.0.0.1"]) as gateway:

        async def from_address(address: str, key: str = wrong(1)) -> int:
            return await status(gateway.admin, UPSTREAMS, key, f"X-Forwarded-For: {address}")

        within = [await from_address(f"2001:db8:0:1::{number:x}") for number in range(1, 13)]
        assert within == [401] * 10 + [429] * 2, "who has a /64 is one"
        mapped = [await from_address(["198.51.100.9", "::ffff:198.51.100.9"][number % 2]) for number in range(12)]
        assert mapped == [401] * 10 + [429] * 2
        each = [await from_address(f"203.0.{number // 250}.{number % 250}") for number in range(120)]
        assert each == [401] * 80 + [429] * 40, "100 in all are enough"
        for address in ("203.0.113.9", "198.51.100.9", "2001:db8:0:1::7"):
            assert await from_address(address, KEYED) == 200, "the right key passes from everywhere"
        assert await status(gateway.admin, UPSTREAMS, KEYED) == 200


async def test_every_failure_is_the_same_401(gateway: Gateway) -> None:
    forms = [
        "X-Nothing: 1",
        "Authorization: ",
        "Authorization: Bearer",
        f"Authorization: Basic {ADMIN_KEY}",
        f"Authorization: Token {ADMIN_KEY}",
        f"Authorization: Bearer Bearer {ADMIN_KEY}",
        f"Authorization: Bearer {ADMIN_KEY[:-1]}",
        f"Authorization: Bearer {ADMIN_KEY}x",
        f"Authorization: Bearer {ADMIN_KEY.upper()}",
        f"Authorization: Bearer {ADMIN_KEY}\xe9",
        f"Authorization: Bearer {'k' * 20_000}",
        f"x-api-key: {ADMIN_KEY}",
        f"Cookie: authorization=Bearer {ADMIN_KEY}",
        f"Proxy-Authorization: Bearer {ADMIN_KEY}",
        f"Authorization: Bearer {ALICE}",
    ]
    bodies = set()
    for form in forms:
        answer = await exchange(gateway.admin, f"GET {UPSTREAMS} HTTP/1.1", "Host: localhost", form)
        assert (answer.status, answer.ending) == (401, "fin"), form
        bodies.add(answer.body)
    assert len(bodies) == 1
    for target in (f"{UPSTREAMS}?key={ADMIN_KEY}", f"{UPSTREAMS}?authorization=Bearer%20{ADMIN_KEY}"):
        assert await status(gateway.admin, target) in (401, 429)
    assert await status(gateway.admin, f"http://x:{ADMIN_KEY}@localhost{UPSTREAMS}") == 400
    assert ADMIN_KEY not in gateway.err.text
    await operator(gateway)


TWO = [
    (KEYED, KEYED),
    (KEYED, wrong(1)),
    (wrong(1), KEYED),
    (KEYED, "Authorization: Basic c2s6"),
    (KEYED, "x-api-key: another"),
    (KEYED, "api-key: another"),
    ("x-api-key: one", "x-api-key: one"),
    ("api-key: one", "x-api-key: two"),
]


@pytest.mark.parametrize("listener", ["main", "admin"])
async def test_two_keys_are_refused_whatever_they_are(gateway: Gateway, listener: str) -> None:
    place, path = (gateway.url, "/v1/models") if listener == "main" else (gateway.admin, UPSTREAMS)
    good = ALICE if listener == "main" else ADMIN_KEY
    for lines in TWO:
        lines = tuple(line.replace(ADMIN_KEY, good) for line in lines)
        answer = await exchange(place, f"GET {path} HTTP/1.1", "Host: localhost", "Connection: close", *lines)
        assert (answer.status, answer.json["error"]["code"]) == (400, "ambiguous_api_key"), lines
    bearer = f"Authorization: Bearer {good}"
    assert await status(place, path, bearer, f"x-api-key: {good}", f"api-key: {good}") == 200
    assert await status(place, path, bearer, "x-api-key: ") == 200
    assert good not in gateway.err.text


async def test_what_has_no_key_has_no_body_read(gateway: Gateway) -> None:
    """Nor is it told to go on and send one."""
    head = "POST /admin/v1/keys HTTP/1.1", "Host: localhost", "Content-Length: 99999999", wrong(1)
    for lines in (head, (*head, "Expect: 100-continue"), (*head, "Content-Encoding: gzip")):
        answer = await exchange(gateway.admin, *lines)
        assert (answer.status, answer.ending) == (401, "fin")
    broken = await exchange(gateway.admin, *head[:2], "Content-Length: 9", wrong(2), body=b"not JSON!")
    assert broken.status == 401
    assert await status(gateway.admin, "/admin/v1/reload", wrong(3), method="POST") == 401
    assert gateway.events("config_reloaded") == []


# Names


FOREIGN = ["evil.example", "evil.example:8401", "localhost.evil.example", "EVIL.example.", "127.0.0.1.nip.io", "evil."]
OWN = ["localhost", "LocalHost:1", "localhost.", "127.0.0.1:9", "[::1]", "a.localhost", "gateway.example", "10.0.0.7"]
UNSOUND = ["a@localhost", "localhost/", "localhost:port", "[::1", "", "a b", "localhost, evil.example"]


@pytest.mark.parametrize("admin", [{}, {"key": ""}, {"open_metrics": True}], ids=["keyed", "without a key", "open"])
async def test_a_foreign_host_reaches_no_admin_route(tmp_path: Path, sandbox: Sandbox, admin: dict[str, Any]) -> None:
    async with running(tmp_path, sandbox, admin=admin, hosts=["gateway.example"]) as gateway:
        keyless = admin.get("key") == ""
        for path in ("/metrics", UPSTREAMS, "/admin/v1/keys", "/nothing"):
            for host in FOREIGN:
                assert await status(gateway.admin, path, KEYED, host=host) == 403, (host, path)
                assert await status(gateway.admin, path, host=host) == 403, (host, path)
            for host in UNSOUND:
                assert await status(gateway.admin, path, KEYED, host=host) == 400, (host, path)
        for host in OWN:
            expected = 403 if keyless and host == "10.0.0.7" else 200
            assert await status(gateway.admin, "/metrics", KEYED, host=host) == expected, host
        forwarded = "X-Forwarded-Host: localhost", "X-Forwarded-Server: localhost", "Forwarded: host=localhost"
        assert await status(gateway.admin, "/metrics", KEYED, *forwarded, host="evil.example") == 403
        head = f"GET {UPSTREAMS} HTTP/1.1", KEYED, "Connection: close"
        assert (await exchange(gateway.admin, *head)).status == 400, "none"
        assert (await exchange(gateway.admin, *head, "Host: localhost", "Host: localhost")).status == 400, "two"
        for target in (f"http://localhost{UPSTREAMS}", f"http://evil.example{UPSTREAMS}", f"//evil.example{UPSTREAMS}"):
            assert await status(gateway.admin, target, KEYED) in (400, 404)
        await operator(gateway)


async def test_no_page_writes_through_the_admin_listener_nor_reads_it(gateway: Gateway) -> None:
    for lines in (
        ("Origin: https://evil.example",),
        ("Origin: null",),
        ("Sec-Fetch-Site: cross-site",),
        ("Origin: http://localhost:3000", "Origin: https://evil.example"),
    ):
        for path, method in (("/admin/v1/reload", "POST"), ("/admin/v1/keys", "POST"), ("/admin/v1/keys/a", "DELETE")):
            assert await status(gateway.admin, path, KEYED, *lines, method=method) == 403, lines
    asks = "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization"
    for origin in ("https://evil.example", "http://localhost:3000", "app://obsidian.md"):
        head = "Host: localhost", "Connection: close", f"Origin: {origin}"
        preflight = "OPTIONS /admin/v1/keys HTTP/1.1", *head, *asks
        for answer in (
            await exchange(gateway.admin, *preflight),
            await exchange(gateway.admin, "GET /metrics HTTP/1.1", *head, KEYED),
        ):
            assert b"access-control" not in answer.raw.lower()
        assert (await exchange(gateway.admin, *preflight)).status in (403, 405)
    await operator(gateway)


# HTTP


SMUGGLED = [
    b"POST /admin/v1/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /admin/v1/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"POST /admin/v1/reload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"POST /admin/v1/reload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    b"POST /admin/v1/reload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"POST /admin/v1/reload HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /admin/v1/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: +1\r\n\r\na",
    b"GET /metrics HTTP/1.1\nHost: localhost\n\n",
    b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n folded: 1\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nA\x00: 1\r\n\r\n",
    b"GET /metrics HTTP/0.9\r\nHost: localhost\r\n\r\n",
    b"GET /metrics\r\n\r\n",
    b"CONNECT localhost:22 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
]


@pytest.mark.parametrize("listener", ["main", "admin"])
async def test_what_can_be_read_in_two_ways_is_refused_at_both_listeners(gateway: Gateway, listener: str) -> None:
    place, key = (gateway.url, ALICE) if listener == "main" else (gateway.admin, ADMIN_KEY)
    good = f"Authorization: Bearer {key}"
    path = "/v1/models" if listener == "main" else "/metrics"
    second = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{good}\r\n\r\n".encode()
    for form in SMUGGLED:
        with_key = form.replace(b"Host: localhost\r\n", f"Host: localhost\r\n{good}\r\n".encode(), 1)
        client = await RawClient.connect(place)
        with contextlib.suppress(OSError):
            await client.send(with_key + second)
        answer = await client.receive(quiet=3)
        await client.leave()
        assert answer.status == 400, form
        assert answer.ending in ("fin", "reset"), form
        assert answer.raw.count(b"\r\ndate: ") == 1, "the second is never read as a request"
    for method in ("TRACE", "TRACK", "PUT", "PATCH", "PROPFIND", "MKCOL", "PURGE"):
        assert await status(place, path, good, method=method) in (400, 405), method
    assert gateway.events("config_reloaded") == []
    assert await status(place, path, good) == 200


async def test_a_virtual_key_is_taken_from_headers_only_and_logged_from_nowhere(gateway: Gateway) -> None:
    for target, *lines in (
        (f"/v1/models?api_key={ALICE}",),
        (f"/v1/models?key={ALICE}&authorization=Bearer%20{ALICE}",),
        (f"/v1/models?x-api-key={ALICE}",),
        ("/v1/models", f"Cookie: api_key={ALICE}; authorization=Bearer {ALICE}"),
        ("/v1/models", f"X-Forwarded-Authorization: Bearer {ALICE}"),
        ("/v1/models", f"Referer: http://x:{ALICE}@localhost/"),
        ("/v1/models", f"Authorization: Basic {ALICE}"),
    ):
        assert await status(gateway.url, target, *lines) == 401, target
    assert await status(gateway.url, f"http://x:{ALICE}@localhost/v1/models") == 400
    assert await status(gateway.url, "/v1/models", host=f"x:{ALICE}@localhost") == 400
    assert await status(gateway.url, f"/v1/nothing?api_key={ALICE}") == 404
    assert await status(gateway.url, "/v1/models", f"x-api-key: {ALICE}") == 200
    assert ALICE not in gateway.err.text + gateway.out.text


async def test_who_guesses_virtual_keys_stops_nobody(gateway: Gateway) -> None:
    statuses: list[int] = []

    async def attack() -> None:
        for number in range(40):
            statuses.extend([await status(gateway.url, "/v1/models", f"x-api-key: gw-guess-{number}")])

    async def alice() -> None:
        assert await status(gateway.url, "/v1/models", f"Authorization: Bearer {ALICE}") == 200

    await served_beside(alice, attack)
    assert statuses == [401] * 10 + [429] * 30
    await alice()
    assert "gw-guess" not in gateway.err.text


# The start


@pytest.mark.parametrize("key", ["a", "fifteen-charact", "'0123456789abcde '"])
async def test_a_short_admin_key_does_not_start_nor_pass_a_check_nor_a_reload(tmp_path: Path, key: str) -> None:
    write(tmp_path, f"listen: 127.0.0.1:0\nadmin:\n  key: {key}\n")
    for arguments in (("serve",), ("check",)):
        ended = await command(tmp_path, *arguments)
        assert ended.code == 2
        assert "config.yaml:3:8: admin.key: expected at least 16 characters" in ended.err
        assert "openssl rand -hex 32" in ended.err
        assert len(key) == 1 or key.strip("' ") not in ended.err


async def test_a_short_admin_key_of_the_environment_is_named_by_its_variable(tmp_path: Path) -> None:
    write(tmp_path, "listen: 127.0.0.1:0\n")
    ended = await command(tmp_path, "serve", env={"GATEWAY_ADMIN_KEY": "hunter2"})
    assert ended.code == 2
    assert "admin.key: expected at least 16 characters" in ended.err
    assert "(it comes from GATEWAY_ADMIN_KEY)" in ended.err
    assert "hunter2" not in ended.err + ended.out


@pytest.mark.parametrize("key", ["ends-in-a-bell-\\a", "has a blank in it-", "not-ascii-é-0123456"])
async def test_a_key_that_no_header_can_carry_does_not_start(tmp_path: Path, key: str) -> None:
    write(tmp_path, f'admin: {{key: "{key}"}}\n')
    ended = await command(tmp_path, "check")
    assert (ended.code, "config.yaml:1:14: admin.key: expected a key: visible ASCII" in ended.err) == (2, True)


@pytest.mark.parametrize("key", ["changeme-changeme-changeme", "aaaaaaaaaaaaaaaaaaaa", "my-super-secret-admin-key"])
async def test_a_weak_one_is_warned_about(tmp_path: Path, key: str) -> None:
    write(tmp_path, f"admin: {{key: {key}}}\n")
    ended = await command(tmp_path, "check", env={"PIAPI_API_KEY": "some-upstream-key"})
    assert ended.code == 0
    assert "config.yaml:1:14: admin.key:" in ended.err
    assert "guessed" in ended.err
    assert key not in ended.err


async def test_a_reload_to_a_short_key_changes_nothing(tmp_path: Path, sandbox: Sandbox) -> None:
    async with running(tmp_path, sandbox) as gateway:
        document = json.loads((tmp_path / "config.yaml").read_text(encoding="utf-8"))
        document["admin"]["key"] = "short"
        write(tmp_path, document)
        answer = await exchange(
            gateway.admin, "POST /admin/v1/reload HTTP/1.0", "Host: localhost", "Content-Length: 0", KEYED
        )
        assert answer.status == 400
        assert "admin.key: expected at least 16 characters" in answer.json["error"]["message"]
        gateway.signal(signal.SIGHUP)
        await operator(gateway)
        assert await status(gateway.admin, UPSTREAMS, "Authorization: Bearer short") == 401


async def test_user_signals_stop_nothing(gateway: Gateway) -> None:
    for _ in range(5):
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            gateway.signal(number)
            await operator(gateway)
    assert gateway.process.returncode is None
