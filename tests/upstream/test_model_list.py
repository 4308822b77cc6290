"""The question for an upstream's list of models: where it goes, what is taken for a list, what for none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from gateway.core.types import Credential, Endpoint, Upstream
from gateway.sandbox import Sandbox
from gateway.sandbox.chat.models import MODELS
from gateway.upstream import model_list
from gateway.upstream.model_list import ask_model_list
from gateway.upstream.pool import ConnectionPool
from tests.upstream.peer import Do, Peer

ON_LISTS = ";path=/v1/models"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(roles=("api", "proxy", "backup")) as running:
        yield running


def upstream(*urls: str, keys: tuple[str, ...] = ("key-one",)) -> Upstream:
    return Upstream(
        "backup",
        "openai",
        tuple(endpoint(url) for url in urls),
        tuple(Credential(f"key-{place}", value) for place, value in enumerate(keys)),
    )


def endpoint(url: str) -> Endpoint:
    place = urlsplit(url)
    assert place.hostname is not None
    return Endpoint(url, "http", place.hostname, place.port or 80, place.path)


async def names(pool: ConnectionPool, asked: Upstream) -> list[str]:
    answer = await ask_model_list(pool, asked)
    assert isinstance(answer, tuple), answer
    return [model.id for model in answer]


def places(sandbox: Sandbox) -> list[tuple[str, str | None]]:
    return [(request.role, request.key) for request in sandbox.listings]


async def test_one_host_is_asked_once_with_one_key_and_nothing_is_bought(
    sandbox: Sandbox, pool: ConnectionPool
) -> None:
    asked = upstream(sandbox.urls["backup"], sandbox.urls["api"], keys=("key-one", "key-two"))
    assert await names(pool, asked) == list(MODELS)
    [request] = sandbox.listings
    assert (request.role, request.method, request.path, request.key) == ("backup", "GET", "/v1/models", "key-one")
    assert dict(request.headers)[b"authorization"] == b"Bearer key-one"
    assert (sandbox.requests, sandbox.bill) == ([], [])
    assert pool.open_count == pool.idle_count == 1


async def test_a_base_path_is_minded(pool: ConnectionPool) -> None:
    async with Peer([Do.REQUEST, b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n", b'["one"]']) as peer:
        assert await names(pool, upstream(f"{peer.endpoint().url}/openai")) == ["one"]
        assert peer.requests[0].startswith(b"GET /openai/v1/models HTTP/1.1\r\n")


@pytest.mark.parametrize("shape", ["bare", "texts", "named"])
async def test_other_shapes(sandbox: Sandbox, pool: ConnectionPool, shape: str) -> None:
    sandbox.script(f"model_list_{shape}")
    assert await names(pool, upstream(sandbox.urls["backup"])) == list(MODELS)


async def test_of_wrong_types_what_is_sane(sandbox: Sandbox, pool: ConnectionPool) -> None:
    sandbox.script("model_list_odd")
    assert await names(pool, upstream(sandbox.urls["backup"])) == ["odd-but-sane", "gpt-4o"]


async def test_of_very_many_so_many(sandbox: Sandbox, pool: ConnectionPool) -> None:
    sandbox.script("model_list_many;count=6000")
    assert len(await names(pool, upstream(sandbox.urls["backup"]))) == 5000


FAULTS = {
    "model_list_none": "answered 404",
    "model_list_empty": "the answer lists no models",
    "model_list_huge;mib=9": "the list is too long",
    f"html_200{ON_LISTS}": "the answer lists no models",
    f"bad_json{ON_LISTS}": "the answer lists no models",
    f"truncated_json{ON_LISTS}": "the answer lists no models",
    f"empty_body{ON_LISTS}": "the answer lists no models",
    f"gzip{ON_LISTS}": "the answer lists no models",
    f"bomb{ON_LISTS}": "the answer lists no models",
    f"soft_error{ON_LISTS}": "the answer lists no models",
    f"server_error{ON_LISTS}": "answered 500",
    f"rate_limited{ON_LISTS}": "answered 429",
    f"redirect;location=http://127.0.0.1:9/v1/models{ON_LISTS}": "answered 302",
    f"redirect;code=308{ON_LISTS}": "answered 308",
    f"key_invalid{ON_LISTS}": "answered 401",
    f"key_forbidden{ON_LISTS}": "answered 403",
    f"reset_before_head{ON_LISTS}": "connection_reset",
    f"garbage{ON_LISTS}": "bad_http",
    f"big_head{ON_LISTS}": "head_too_big",
}


@pytest.mark.parametrize(("fault", "why"), FAULTS.items())
async def test_what_is_no_list_says_why_and_the_next_host_is_asked(
    sandbox: Sandbox, pool: ConnectionPool, fault: str, why: str
) -> None:
    sandbox.script(fault, role="backup", times=None)
    assert await ask_model_list(pool, upstream(sandbox.urls["backup"])) == why
    if why not in ("answered 401", "answered 403"):
        assert await names(pool, upstream(sandbox.urls["backup"], sandbox.urls["proxy"])) == list(MODELS)
        assert [role for role, _ in places(sandbox)] == ["backup", "backup", "proxy"]


async def test_a_redirect_is_not_followed(sandbox: Sandbox, pool: ConnectionPool) -> None:
    sandbox.script(f"redirect;location={sandbox.urls['proxy']}/v1/models{ON_LISTS}")
    assert await ask_model_list(pool, upstream(sandbox.urls["backup"])) == "answered 302"
    assert places(sandbox) == [("backup", "key-one")]


async def test_a_refused_key_is_followed_by_the_next_of_a_few(sandbox: Sandbox, pool: ConnectionPool) -> None:
    hosts = (sandbox.urls["backup"], sandbox.urls["proxy"])
    assert await names(pool, upstream(*hosts, keys=("sandbox-invalid-1", "good"))) == list(MODELS)
    assert places(sandbox) == [("backup", "sandbox-invalid-1"), ("backup", "good")]
    sandbox.listings.clear()
    bad = tuple(f"sandbox-invalid-{number}" for number in range(5))
    assert await ask_model_list(pool, upstream(*hosts, keys=bad)) == "answered 401"
    assert len(sandbox.listings) == model_list.MOST_KEYS


@pytest.mark.parametrize("fault", [f"stall_head{ON_LISTS}", "model_list_slow"])
async def test_a_silent_host_is_left_in_time(
    sandbox: Sandbox, pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(model_list, "LIST_TIMEOUT", 0.1)
    sandbox.script(fault, role="backup", times=None)
    assert await ask_model_list(pool, upstream(sandbox.urls["backup"])) == "no answer in time"
    assert pool.open_count == 0


@pytest.mark.parametrize("key", ["key\r\nhost: x", "\udcff"])
async def test_a_key_that_no_header_can_hold_is_never_sent(sandbox: Sandbox, pool: ConnectionPool, key: str) -> None:
    answer = await ask_model_list(pool, upstream(sandbox.urls["backup"], keys=(key,)))
    assert answer == "the key cannot stand in a header"
    assert sandbox.listings == []


async def test_nobody_is_asked_without_a_key(sandbox: Sandbox, pool: ConnectionPool) -> None:
    assert await ask_model_list(pool, upstream(sandbox.urls["backup"], keys=())) == "no key"
    assert sandbox.listings == []


async def test_a_host_that_refuses_connections_is_followed_by_the_next(sandbox: Sandbox, pool: ConnectionPool) -> None:
    await sandbox.refuse("backup")
    gone = endpoint(sandbox.urls["backup"]).url
    assert await ask_model_list(pool, upstream(gone)) == "connect_refused"
    assert await names(pool, upstream(gone, sandbox.urls["api"])) == list(MODELS)
