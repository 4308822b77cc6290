"""How many tasks an account may run at once: asked of PiAPI's hosts until one says it, and never taken on trust."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from gateway.core.types import Credential, Dialect, Endpoint, Upstream
from gateway.sandbox import Sandbox
from gateway.upstream import account as account_info
from gateway.upstream.account import ACCOUNT_ANSWER_LIMIT, task_limit
from gateway.upstream.dialer import SystemDialer
from gateway.upstream.pool import ConnectionPool
from tests.upstream.peer import Do, Peer

KEY = Credential("first", "key-one")


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(roles=("api", "proxy", "backup")) as running:
        yield running


@pytest.fixture
async def pool() -> AsyncIterator[ConnectionPool]:
    pool = ConnectionPool(SystemDialer())
    yield pool
    await pool.close()


def upstream(*urls: str, dialect: Dialect = "piapi") -> Upstream:
    return Upstream("piapi", dialect, tuple(endpoint(url) for url in urls), (KEY,))


def endpoint(url: str) -> Endpoint:
    place = urlsplit(url)
    assert place.hostname is not None
    return Endpoint(url, "http", place.hostname, place.port or 80)


async def test_the_first_host_says_it_and_nothing_is_bought(sandbox: Sandbox, pool: ConnectionPool) -> None:
    piapi = upstream(sandbox.urls["api"], sandbox.urls["proxy"])
    assert await task_limit(pool, piapi, KEY) == 5
    [request] = sandbox.requests
    assert (request.role, request.method, request.path, request.key) == ("api", "GET", "/account/info", "key-one")
    headers = dict(request.headers)
    assert headers[b"x-api-key"] == b"key-one"
    assert b"authorization" not in headers
    assert sandbox.bill == []
    assert pool.open_count == pool.idle_count == 1


@pytest.mark.parametrize(
    "fault",
    [
        "server_error",
        "cf_524",
        "html_200",
        "bad_json",
        "truncated_json",
        "empty_body",
        "soft_error",
        "redirect",
        "garbage",
        "big_head",
        "reset_before_head",
        "cut_bytes;at=60",
    ],
)
async def test_a_host_that_fails_is_followed_by_the_next(sandbox: Sandbox, pool: ConnectionPool, fault: str) -> None:
    sandbox.script(fault, role="api")
    piapi = upstream(sandbox.urls["api"], sandbox.urls["proxy"])
    assert await task_limit(pool, piapi, KEY) == 5
    assert [request.role for request in sandbox.requests] == ["api", "proxy"]


async def test_a_host_that_refuses_connections_is_followed_by_the_next(sandbox: Sandbox, pool: ConnectionPool) -> None:
    await sandbox.refuse("api")
    assert await task_limit(pool, upstream(sandbox.urls["api"], sandbox.urls["proxy"]), KEY) == 5


async def test_a_silent_host_leaves_time_for_the_next(
    sandbox: Sandbox, pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account_info, "ACCOUNT_TIMEOUT", 4.0)
    sandbox.script("wall;seconds=60", role="api")
    assert await task_limit(pool, upstream(sandbox.urls["api"], sandbox.urls["proxy"]), KEY) == 5
    assert [request.role for request in sandbox.requests] == ["api", "proxy"]


async def test_hosts_that_are_all_silent_teach_nothing_and_leave_no_connection(
    sandbox: Sandbox, pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account_info, "ACCOUNT_TIMEOUT", 0.1)
    sandbox.script("wall;seconds=60", times=None)
    assert await task_limit(pool, upstream(sandbox.urls["api"], sandbox.urls["proxy"]), KEY) is None
    assert pool.open_count == 0


async def test_a_key_that_is_refused_teaches_nothing(sandbox: Sandbox, pool: ConnectionPool) -> None:
    bad = Credential("bad", "sandbox-invalid-key")
    assert await task_limit(pool, upstream(sandbox.urls["api"]), bad) is None


async def test_a_key_that_no_header_can_hold_is_never_sent(sandbox: Sandbox, pool: ConnectionPool) -> None:
    assert await task_limit(pool, upstream(sandbox.urls["api"]), Credential("odd", "key\r\nhost: x")) is None
    assert sandbox.requests == []


async def test_an_openai_dialect_is_not_asked(sandbox: Sandbox, pool: ConnectionPool) -> None:
    assert await task_limit(pool, upstream(sandbox.urls["backup"], dialect="openai"), KEY) is None
    assert sandbox.requests == []


def answering(body: bytes) -> Peer:
    return Peer([Do.REQUEST, b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body), body])


@pytest.mark.parametrize(
    ("count", "limit"),
    [
        (b"1", 1),
        (b"10000", 10_000),
        (b"0", None),
        (b"-3", None),
        (b"10001", None),
        (b"99999999999999999999999999", None),
        (b"5.0", None),
        (b'"5"', None),
        (b"true", None),
        (b"null", None),
        (b"[5]", None),
    ],
)
async def test_only_plausible_numbers_are_believed(pool: ConnectionPool, count: bytes, limit: int | None) -> None:
    async with answering(b'{"code":200,"data":{"max_concurrent_task_count":' + count + b"}}") as peer:
        assert await task_limit(pool, upstream(peer.endpoint().url), KEY) == limit


@pytest.mark.parametrize("body", [b"5", b"[]", b"{}", b'{"data":null}', b'{"data":[5]}', b'{"data":{}}', b"[" * 5000])
async def test_answers_without_an_account_teach_nothing(pool: ConnectionPool, body: bytes) -> None:
    async with answering(body) as peer:
        assert await task_limit(pool, upstream(peer.endpoint().url), KEY) is None


async def test_an_answer_is_read_up_to_its_bound_and_no_further(pool: ConnectionPool) -> None:
    account = b'{"data":{"max_concurrent_task_count":7}}'
    async with answering(account.ljust(ACCOUNT_ANSWER_LIMIT)) as peer:
        assert await task_limit(pool, upstream(peer.endpoint().url), KEY) == 7
    async with answering(account.ljust(ACCOUNT_ANSWER_LIMIT + 1)) as peer:
        assert await task_limit(pool, upstream(peer.endpoint().url), KEY) is None
    endless = [
        Do.REQUEST,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        *[b"10000\r\n" + b" " * 65536 + b"\r\n"] * 40,
    ]
    async with Peer(endless) as peer:
        assert await task_limit(pool, upstream(peer.endpoint().url), KEY) is None
        await peer.until_gone()
