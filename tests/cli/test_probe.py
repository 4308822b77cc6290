"""The probe of upstreams with their keys: the sandbox's answers, and some that no upstream should give."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from gateway.cli.probe import probe
from gateway.core.types import Credential, Dialect, Endpoint, Upstream
from gateway.sandbox import Sandbox
from gateway.sandbox.wire.answers import Role

ROLES: tuple[Role, ...] = ("api", "proxy", "backup")


def endpoint(url: str) -> Endpoint:
    place = urlsplit(url)
    assert place.hostname is not None
    return Endpoint(url, "http", place.hostname, place.port or 80)


def upstream(urls: list[str], keys: dict[str, str], name: str = "piapi", dialect: Dialect = "piapi") -> Upstream:
    credentials = tuple(Credential(key, value) for key, value in keys.items())
    return Upstream(name, dialect, tuple(endpoint(url) for url in urls), credentials)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(roles=ROLES) as running:
        yield running


async def asked(*upstreams: Upstream) -> list[dict[str, Any]]:
    return await probe(upstreams, httpx2.AsyncHTTPTransport())


async def test_every_host_is_asked_with_every_key_in_order_and_nothing_is_bought(sandbox: Sandbox) -> None:
    piapi = upstream([sandbox.urls["api"], sandbox.urls["proxy"]], {"first": "key-one", "second": "key-two"})
    backup = upstream([sandbox.urls["backup"]], {"spare": "key-three"}, "backup", "openai")
    rows = await asked(piapi, backup)
    assert [(row["upstream"], row["endpoint"], row["upstream_key"]) for row in rows] == [
        ("piapi", sandbox.urls["api"], "first"),
        ("piapi", sandbox.urls["api"], "second"),
        ("piapi", sandbox.urls["proxy"], "first"),
        ("piapi", sandbox.urls["proxy"], "second"),
        ("backup", sandbox.urls["backup"], "spare"),
    ]
    assert {row["state"] for row in rows} == {"ok"}
    for row in rows[:4]:
        assert (row["plan"], row["balance_usd"], row["concurrency"]) == ("Creator", 12.3456789, 5)
    assert (rows[4]["plan"], rows[4]["balance_usd"], rows[4]["concurrency"]) == (None, None, None)
    assert sorted((request.role, request.path, request.key) for request in [*sandbox.requests, *sandbox.listings]) == [
        ("api", "/account/info", "key-one"),
        ("api", "/account/info", "key-two"),
        ("backup", "/v1/models", "key-three"),
        ("proxy", "/account/info", "key-one"),
        ("proxy", "/account/info", "key-two"),
    ]
    assert sandbox.bill == []


async def test_an_empty_purse_is_seen(sandbox: Sandbox) -> None:
    [row] = await asked(upstream([sandbox.urls["api"]], {"poor": "sandbox-broke"}))
    assert (row["state"], row["balance_usd"]) == ("ok", 0)


async def test_one_bad_key_or_host_does_not_hide_the_others(sandbox: Sandbox) -> None:
    await sandbox.refuse("proxy")
    keys = {"good": "key-one", "bad": "sandbox-invalid-key"}
    rows = await asked(upstream([sandbox.urls["api"], sandbox.urls["proxy"]], keys))
    states = [row["state"] for row in rows]
    assert states[:2] == ["ok", "the key is refused (401): replace it in the configuration"]
    assert all(state.startswith("unreachable: ") for state in states[2:])
    assert [row["plan"] for row in rows] == ["Creator", None, None, None]
    assert not [value for value in keys.values() if value in repr(rows)]


Handler = Callable[[httpx2.Request], httpx2.Response]


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (httpx2.Response(403), "the key is refused (403): replace it in the configuration"),
        (httpx2.Response(302, headers={"location": "http://127.0.0.1:9/"}), "answered 302"),
        (httpx2.Response(500, json={"error": "broke"}), "answered 500"),
        (httpx2.Response(200, text="<html>hello</html>"), "answered something that is not JSON"),
        (httpx2.Response(200, content=b"\xff\xfe\xff"), "answered something that is not JSON"),
        (httpx2.Response(200, content=b"[" * 100_000), "answered something that is not JSON"),
        (httpx2.Response(200, content=b'{"data":' * 5_000), "answered something that is not JSON"),
        (httpx2.Response(200, content=b"[" + b"[]," * 1_000_000), "answered more than 400000 values and names"),
        (httpx2.Response(200, json=[]), "answered without account data"),
        (httpx2.Response(200, json={"code": 200}), "answered without account data"),
        (httpx2.Response(200, json={"data": "none"}), "answered without account data"),
        (httpx2.Response(200, json={"data": {}}), "ok"),
    ],
)
async def test_odd_answers_are_told_in_words(answer: httpx2.Response, state: str) -> None:
    asked_for: list[httpx2.Request] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        asked_for.append(request)
        return answer

    piapi = upstream(["http://127.0.0.1:1"], {"first": "key-one"})
    [row] = await probe([piapi], httpx2.MockTransport(handle))
    assert (row["state"], row["plan"]) == (state, None)
    [request] = asked_for  # no redirect is followed: the key is for this host only
    assert request.headers["x-api-key"] == "key-one"
    assert "authorization" not in request.headers


async def test_a_host_that_takes_too_long_is_unreachable() -> None:
    def handle(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ReadTimeout("timed out", request=request)

    [row] = await probe([upstream(["http://127.0.0.1:1"], {"first": "key-one"})], httpx2.MockTransport(handle))
    assert row["state"] == "unreachable: timed out"


@pytest.mark.parametrize(
    "body", [b"[" * 200_000, b"[" * 200_000 + b"]" * 200_000, b'{"data":' * 50_000, b"\xff\xfe", b"NaN", b"1" * 100_000]
)
async def test_an_answer_that_no_parser_ends_is_told_in_words(body: bytes) -> None:
    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=body)

    [row] = await probe([upstream(["http://h.example"], {"k": "v"})], httpx2.MockTransport(answer))
    assert row["state"] in ("answered something that is not JSON", "answered without account data")


async def test_words_of_an_upstream_are_short_and_of_a_kind() -> None:
    account = {"plan": "p" * 10**6, "equivalent_in_usd": [1], "max_concurrent_task_count": {"a": True}}

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json={"data": account})

    [row] = await probe([upstream(["http://h.example"], {"k": "v"})], httpx2.MockTransport(answer))
    assert (len(row["plan"]), row["balance_usd"], row["concurrency"]) == (201, None, None)
