"""What a free read tells of a key: of which hosts, by which answers, and what it leaves open."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from gateway.core.routing.credentials import KeyReading
from gateway.core.types import Credential, Dialect, Endpoint, Upstream
from gateway.sandbox import Sandbox
from gateway.upstream.dialer import SystemDialer
from gateway.upstream.key_reading import KeyAnswer, ask_about_key, reading_of
from gateway.upstream.pool import ConnectionPool

GOOD, REVOKED, BROKE = "sk-good-00001111", "sk-sandbox-invalid-1", "sk-sandbox-broke-1"
POINTS = 10_000_000


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(roles=("api", "proxy", "backup")) as running:
        yield running


@pytest.fixture
async def pool() -> AsyncIterator[ConnectionPool]:
    pool = ConnectionPool(SystemDialer())
    yield pool
    await pool.close()


async def told(sandbox: Sandbox, pool: ConnectionPool, key: str, dialect: Dialect = "piapi") -> KeyReading:
    roles = ("api", "proxy") if dialect == "piapi" else ("backup",)
    places = []
    for role in roles:
        parts = urlsplit(sandbox.urls[role])
        assert parts.hostname is not None
        places.append(Endpoint(sandbox.urls[role], "http", parts.hostname, parts.port or 80))
    credential = Credential("one", key)
    upstream = Upstream("it", dialect, tuple(places), (credential,))
    return reading_of(await ask_about_key(pool, upstream, credential), dialect, POINTS)


@pytest.mark.parametrize(
    ("key", "reading"),
    [(GOOD, KeyReading(True, True)), (REVOKED, KeyReading(False)), (BROKE, KeyReading(True, False))],
)
async def test_piapis_account_page_tells_of_the_key_and_of_its_money(
    key: str, reading: KeyReading, sandbox: Sandbox, pool: ConnectionPool
) -> None:
    assert await told(sandbox, pool, key) == reading
    [read] = sandbox.key_checks
    assert (read.method, read.path, read.role, read.key) == ("GET", "/account/info", "api", key)
    assert sandbox.bill == []


@pytest.mark.parametrize(
    ("key", "reading"), [(GOOD, KeyReading(True)), (REVOKED, KeyReading(False)), (BROKE, KeyReading(True))]
)
async def test_a_list_of_models_tells_nothing_of_money(
    key: str, reading: KeyReading, sandbox: Sandbox, pool: ConnectionPool
) -> None:
    for dialect in ("openai", "anthropic"):
        assert await told(sandbox, pool, key, dialect) == reading
    openai, anthropic = sandbox.key_checks
    assert openai.get(b"authorization") == f"Bearer {key}".encode()
    assert (anthropic.get(b"x-api-key"), anthropic.get(b"authorization")) == (key.encode(), None)
    assert anthropic.get(b"anthropic-version") == b"2023-06-01"


@pytest.mark.parametrize(
    "trouble", ["server_error", "waf_block", "html_200", "bad_json", "rate_limited", "reset_before_head", "redirect"]
)
async def test_a_host_that_tells_nothing_leaves_the_word_to_the_next(
    trouble: str, sandbox: Sandbox, pool: ConnectionPool
) -> None:
    sandbox.script(trouble, role="api", path="/account/info", times=None)
    assert await told(sandbox, pool, REVOKED.replace("sandbox-invalid", "x")) == KeyReading(True, True)
    sandbox.script("key_invalid", role="proxy", path="/account/info", times=None)
    assert await told(sandbox, pool, GOOD) == KeyReading(False)
    sandbox.clear_scripts()
    sandbox.script(trouble, path="/account/info", times=None)
    assert await told(sandbox, pool, GOOD) == KeyReading()


@pytest.mark.parametrize(
    ("trouble", "reading"),
    [
        ("soft_error;shape=openai;error=invalid_api_key", KeyReading(False)),
        ("soft_error;shape=openai;error=server_error", KeyReading()),
        ("html_200", KeyReading()),
        ("model_missing", KeyReading()),
        ("key_forbidden", KeyReading()),
        ("server_error", KeyReading()),
    ],
)
async def test_what_an_upstream_may_answer_in_place_of_its_list(
    trouble: str, reading: KeyReading, sandbox: Sandbox, pool: ConnectionPool
) -> None:
    sandbox.script(trouble, path="/v1/models", times=None)
    assert await told(sandbox, pool, GOOD, "openai") == reading


@pytest.mark.parametrize(
    ("usd", "funded"), [(0, False), (-3, False), (0.4, None), (1, True), (50.0, True), ("50", None), (None, None)]
)
def test_a_balance_too_small_for_some_requests_leaves_it_open(usd: object, funded: bool | None) -> None:
    answer = KeyAnswer(200, {"equivalent_in_usd": usd})
    assert reading_of(answer, "piapi", POINTS) == KeyReading(True, funded)


def test_no_answer_tells_nothing() -> None:
    assert reading_of(None, "piapi", POINTS) == reading_of(KeyAnswer(0), "piapi", POINTS) == KeyReading()
