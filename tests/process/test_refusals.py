"""Every refusal of a gateway process leaves a line in its log, on both listeners, and counts; and no secret with it."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from gateway.sandbox import Sandbox
from tests.base_config import ALICE
from tests.raw_client import RawClient

from .running import BOB_KEY, CHAT, Gateway, chat, new_client, settings, write

ADMIN_KEY = "an-admin-key-of-the-tests"
PROMPT = "a secret prompt about Elm Street"
FORWARDED = {"x-forwarded-for": "203.0.113.7"}


@pytest.fixture
async def gateway(sandbox: Sandbox, tmp_path: Path) -> AsyncIterator[Gateway]:
    document = settings(sandbox, tmp_path)
    document["admin"] = {"listen": "127.0.0.1:0", "key": ADMIN_KEY}
    document["trusted_proxies"] = ["127.0.0.1"]
    document["limits"] = {"body": "64KiB", "headers": "16KiB"}
    document["keys"].append({"name": "slow", "key": "gw-slow-0123456789abcdef", "rpm": 1})
    document["keys"].append({"name": "poor", "key": "gw-poor-0123456789abcdef", "budget": "0.000001/day"})
    write(tmp_path, document)
    async with Gateway.serve(tmp_path) as running:
        yield running
        text = running.out.text + running.err.text
        for secret in (ALICE, BOB_KEY, ADMIN_KEY, "gw-guess", "gw-poor", PROMPT, "s3cret-query"):
            assert secret not in text


async def count(gateway: Gateway, **labels: str) -> float:
    """How many requests the metrics count with these labels."""
    async with httpx2.AsyncClient(trust_env=False) as client:
        page = await client.get(gateway.admin + "/metrics", headers={"authorization": f"Bearer {ADMIN_KEY}"})
    wanted = [f'{name}="{value}"' for name, value in labels.items()]
    lines = [line for line in page.text.splitlines() if line.startswith("gateway_requests_total{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines if all(each in line for each in wanted))


MODEL, MAKE = "/v1/models/{model}", "/v1/images/generations"
ORDER = chat(PROMPT)
JSON = {"content-type": "application/json"}

REFUSALS = [
    # path, method, key, body, headers → status, code, the key's name, the route
    (CHAT, "POST", None, ORDER, {}, 401, "invalid_api_key", None, CHAT),
    (CHAT, "POST", "gw-guess-0123456789abcdef", ORDER, {}, 401, "invalid_api_key", None, CHAT),
    ("/v1/models", "GET", None, None, {}, 401, "invalid_api_key", None, "/v1/models"),
    ("/v1/models/gpt-4o?api_key=s3cret-query", "GET", None, None, {}, 401, "invalid_api_key", None, MODEL),
    (MAKE, "POST", None, {"prompt": PROMPT}, {}, 401, "invalid_api_key", None, MAKE),
    ("/api/v1/task", "POST", None, {}, {}, 401, "invalid_api_key", None, "/api/v1/task"),
    ("/api/v1/task/x", "GET", None, None, {}, 401, "invalid_api_key", None, "/api/v1/task/{id}"),
    ("/api/v1/task/x", "GET", ALICE, None, {}, 404, "task_not_found", "alice", "/api/v1/task/{id}"),
    (CHAT, "POST", ALICE, "{not json " + PROMPT, JSON, 400, "invalid_json", "alice", CHAT),
    (CHAT, "POST", ALICE, {"model": "gpt-4o-mini", "messages": []}, {}, 400, None, "alice", CHAT),
    (CHAT, "POST", ALICE, {**ORDER, "n": "two"}, {}, 400, "invalid_type", "alice", CHAT),
    (CHAT, "POST", BOB_KEY, chat(PROMPT, model="gpt-4o"), {}, 403, "model_not_allowed", "bob", CHAT),
    (MAKE, "POST", ALICE, {"model": "nope", "prompt": PROMPT}, {}, 404, "model_not_found", "alice", MAKE),
    ("/v1/models/nope", "GET", ALICE, None, {}, 404, "model_not_found", "alice", MODEL),
    ("/v1/nowhere?token=s3cret-query", "POST", ALICE, ORDER, {}, 404, "unknown_url", None, "other"),
    ("/nowhere", "GET", None, None, {}, 404, "unknown_url", None, "other"),
    ("/images/s3cret-query", "GET", None, None, {}, 404, "image_not_found", None, "/images/{name}"),
    ("/images/s3cret-query", "DELETE", None, None, {}, 405, "method_not_allowed", None, "/images/{name}"),
    ("/webhooks/piapi/s3cret-query", "POST", None, {}, {}, 404, "unknown_url", None, "/webhooks/piapi/{token}"),
    ("/webhooks/s3cret-query", "POST", None, {}, {}, 404, "unknown_url", None, "other"),
    (CHAT, "GET", ALICE, None, {}, 405, "method_not_allowed", None, CHAT),
    ("/v1/models", "DELETE", ALICE, None, {}, 405, "method_not_allowed", None, "/v1/models"),
    (CHAT, "POST", ALICE, {**ORDER, "x": "y" * 70_000}, {}, 413, "request_too_large", "alice", CHAT),
    (CHAT, "POST", ALICE, "x", {**JSON, "content-encoding": "br"}, 415, "unsupported_content_encoding", "alice", CHAT),
    (CHAT, "POST", "gw-poor-0123456789abcdef", ORDER, {}, 429, "insufficient_quota", "poor", CHAT),
]  # fmt: skip


@pytest.mark.parametrize("kind", REFUSALS, ids=lambda kind: f"{kind[5]}-{kind[1]}-{kind[0]}")
async def test_a_refusal_leaves_one_line_with_who_what_and_why_and_counts(gateway: Gateway, kind) -> None:  # type: ignore[no-untyped-def]
    path, method, key, body, headers, status, code, name, route = kind
    headers = {**headers, **FORWARDED, "x-request-id": "the-one-refused"}
    if key is not None:
        headers["authorization"] = f"Bearer {key}"
    content = body if isinstance(body, str) else None if body is None else json.dumps(body)
    async with httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.request(method, gateway.url + path, content=content, headers=headers)
    assert answer.status_code == status
    line = await gateway.event("refused", request_id="the-one-refused")
    assert (line["status"], line["key"], line["route"]) == (status, name, route)
    assert line["code"] == (code or answer.json()["error"]["code"])
    assert line["address"] == "203.0.113.7"
    assert line["reason"]
    assert len([each for each in gateway.err.lines if "the-one-refused" in each]) == 1
    assert await count(gateway, route=route, status=str(status)) == 1


async def test_who_asks_too_often_is_in_the_log_each_time(gateway: Gateway) -> None:
    async with new_client("gw-slow-0123456789abcdef") as client:
        answers = [await client.post(gateway.url + CHAT, json=ORDER) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 429, 429, 429]
    for answer in answers[1:]:
        line = await gateway.event("refused", request_id=answer.headers["x-request-id"])
        assert (line["key"], line["code"], line["address"]) == ("slow", "rate_limit_exceeded", "127.0.0.1")
    assert len(gateway.events("request")) == 1
    assert await count(gateway, route=CHAT, status="429", key="slow") == 3


async def test_the_models_route_counts_as_all_do(gateway: Gateway) -> None:
    async with new_client() as client:
        assert (await client.get(gateway.url + "/v1/models")).status_code == 200
        assert (await client.get(gateway.url + "/healthz")).status_code == 200
    assert await count(gateway, route="/v1/models", status="200", key="alice") == 1
    assert await count(gateway, route="/healthz") == 0
    assert gateway.events("refused") == []


@pytest.mark.parametrize(
    ("path", "method", "key", "status", "route"),
    [
        ("/admin/v1/keys", "GET", None, 401, "/admin/v1/keys"),
        ("/admin/v1/keys/alice", "DELETE", "gw-guess-0123456789abcdef", 401, "/admin/v1/keys/{name}"),
        ("/metrics", "GET", None, 401, "/metrics"),
        ("/admin/v1/nothing", "GET", ADMIN_KEY, 404, "other"),
        ("/v1/models", "GET", ADMIN_KEY, 404, "other"),
        ("/admin/v1/keys", "POST", ADMIN_KEY, 400, "/admin/v1/keys"),
        ("/admin/v1/usage", "DELETE", ADMIN_KEY, 405, "/admin/v1/usage"),
    ],
)
async def test_the_admin_listener_tells_of_its_refusals_too(
    gateway: Gateway, path: str, method: str, key: str | None, status: int, route: str
) -> None:
    headers = {"x-request-id": "the-one-refused"} | ({} if key is None else {"authorization": f"Bearer {key}"})
    async with httpx2.AsyncClient(trust_env=False) as client:
        assert (await client.request(method, gateway.admin + path, headers=headers)).status_code == status
    event = "admin_refused" if status == 401 else "refused"
    line = await gateway.event(event, request_id="the-one-refused")
    assert (line["status"], line["route"], line["address"]) == (status, route, "127.0.0.1")
    assert await count(gateway, route=route, status=str(status)) >= 1


TOO_LARGE = "request_headers_too_large"
BROKEN = [
    (b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine\r\n bad\r\n\r\n", 400, "malformed_http", None),
    (b"GET / HTTP/1.1\r\nX-Request-Id: mine\r\n\r\n", 400, "malformed_http", "/"),
    (b"NONSENSE\r\n\r\n", 400, "malformed_http", None),
    (b"GET /v1/models HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 20_000 + b"\r\n\r\n", 431, TOO_LARGE, None),
    (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431, TOO_LARGE, "other"),
    (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "malformed_http", None),
]  # fmt: skip


@pytest.mark.parametrize("listener", ["main", "admin"])
@pytest.mark.parametrize(("sent", "status", "code", "route"), BROKEN)
async def test_what_is_refused_before_it_is_a_request_is_told_of_as_well(
    gateway: Gateway, listener: str, sent: bytes, status: int, code: str, route: str | None
) -> None:
    client = await RawClient.connect(gateway.url if listener == "main" else gateway.admin)
    await client.send(sent)
    answer = await client.answer()
    await client.close()
    assert answer.status == status
    line = await gateway.event("refused", request_id=answer.header("x-request-id"))
    assert (line["status"], line["code"], line["address"]) == (status, code, "127.0.0.1")
    if listener == "main" and route is not None:
        assert line["route"] == route
    assert await count(gateway, route=line["route"], status=str(status)) == 1


async def test_a_body_that_is_not_sound_is_one_refusal_and_not_two(gateway: Gateway) -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ALICE}\r\nTransfer-Encoding: chunked\r\n\r\n"
    client = await RawClient.connect(gateway.url)
    await client.send(head.encode())
    await asyncio.sleep(0.3)
    await client.send(b"nonsense\r\n")
    answer = await client.answer()
    await client.close()
    assert answer.status == 400
    line = await gateway.event("refused", request_id=answer.header("x-request-id"))
    assert (line["key"], line["route"], line["code"]) == ("alice", CHAT, "malformed_http")
    assert len(gateway.events("refused")) == 1
    assert await count(gateway, route=CHAT) == 1


async def test_a_client_that_leaves_before_its_request_is_whole_leaves_a_line(gateway: Gateway) -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nX-Request-Id: left\r\nAuthorization: Bearer {ALICE}\r\n"
    client = await RawClient.connect(gateway.url)
    await client.send(head.encode() + b"Content-Length: 100\r\n\r\n{")
    await asyncio.sleep(0.3)
    await client.close()
    line = await gateway.event("refused", request_id="left")
    assert (line["status"], line["code"], line["key"]) == (499, "client_gone", "alice")


async def test_a_flood_does_not_drown_the_log_and_nothing_vanishes(gateway: Gateway) -> None:
    number = 700
    place = urlsplit(gateway.url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    for _ in range(number):
        writer.write(b"GET /wp-login.php HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n{")
        await reader.readuntil(b"}}")
    writer.close()
    gateway.signal(signal.SIGTERM)
    assert await gateway.wait() == 0
    await asyncio.sleep(0.2)
    lines, more = gateway.events("refused"), gateway.events("refused_more")
    assert len(lines) < number / 2
    assert len(more) <= 2
    assert len(lines) + sum(line["number"] for line in more) == number
    assert {(line["address"], line["route"], line["code"]) for line in more} == {("127.0.0.1", "other", "unknown_url")}


async def test_a_key_that_is_over_is_named(gateway: Gateway) -> None:
    admin = {"authorization": f"Bearer {ADMIN_KEY}"}
    async with httpx2.AsyncClient(trust_env=False) as client:
        made = await client.post(gateway.admin + "/admin/v1/keys", json={"name": "former"}, headers=admin)
        assert (await client.delete(gateway.admin + "/admin/v1/keys/former", headers=admin)).status_code == 200
        headers = {"authorization": f"Bearer {made.json()['key']}", "x-request-id": "over"}
        assert (await client.post(gateway.url + CHAT, json=ORDER, headers=headers)).status_code == 401
    line = await gateway.event("refused", request_id="over")
    assert (line["key"], line["reason"]) == ("former", "the key is revoked")
