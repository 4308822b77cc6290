"""Nothing that a client sends chooses a host, a key, a header or a callback, and nothing that an upstream answers does.

A canary listens beside every test: whatever is named here is named with its address, and it must never be called.
"""

from __future__ import annotations

import ast
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import gateway as program

from .conftest import StartGateway
from .harness import ALICE, BACKUP_KEY, MESSAGES, PATH, PIAPI_KEY, Answer, Rig, get
from .image_orders import SOURCE, as_base64
from .plain_servers import PlainServer, lines_of

ADDRESSES = [
    *("api_base", "base_url", "apiBase", "baseURL", "azure_endpoint", "endpoint", "host", "hostname", "proxy", "url"),
    *("custom_host", "target_url", "upstream", "callback", "callback_url", "webhook", "webhook_url", "notify_hook"),
]
"""Fields that hold an address as it is."""

OBJECTS = {
    "webhook_config": {"endpoint": "{}", "secret": "x"},
    "user_config": {"model_list": [{"litellm_params": {"api_base": "{}", "api_key": "x"}}]},
    "litellm_params": {"api_base": "{}", "api_key": "x"},
    "provider": {"base_url": "{}", "order": ["x"]},
    "config": {"webhook_config": {"endpoint": "{}"}, "api_base": "{}"},
    "fallbacks": [{"api_base": "{}"}],
    "plugins": [{"id": "web", "url": "{}"}],
    "extra_headers": {"host": "{}", "authorization": "Bearer x"},
    "extra_body": {"api_base": "{}", "webhook_config": {"endpoint": "{}"}},
    "__proto__": {"base_url": "{}"},
    "constructor": {"prototype": {"base_url": "{}"}},
}
"""Fields that hold one somewhere below."""

HEADERS = [
    *("x-forwarded-host", "x-original-url", "x-rewrite-url", "x-upstream-url", "x-base-url", "x-api-base", "forwarded"),
    *("x-portkey-custom-host", "x-portkey-config", "helicone-target-url", "x-gateway-webhook", "x-gateway-upstream"),
    *("x-litellm-api-base", "x-target-host", "x-proxy-url", "destination", "referer", "from", "x-webhook-url"),
    *("openai-organization", "openai-project", "anthropic-beta", "x-openrouter-provider", "traceparent", "baggage"),
]

SENT_UPSTREAM = {
    *(
        "host",
        "content-type",
        "content-length",
        "accept",
        "accept-encoding",
        "authorization",
        "x-api-key",
        "user-agent",
    ),
}
"""All the names of headers that an upstream may ever get."""


def fields(place: str) -> Iterator[dict[str, Any]]:
    """Every such field, with ``place`` in it."""
    for name in ADDRESSES:
        yield {name: place}
    for name, value in OBJECTS.items():
        yield {name: json.loads(json.dumps(value).replace("{}", place))}


def chats(place: str) -> Iterator[dict[str, Any]]:
    """Chats that have each of them at each depth."""
    for field in fields(place):
        chat = {"model": "gpt-4o", "messages": MESSAGES}
        yield {**chat, **field}
        yield {**chat, "messages": [{**MESSAGES[0], **field}]}
        yield {**chat, "messages": [{"role": "user", "content": [{"type": "text", "text": "hat", **field}]}]}
        yield {**chat, "metadata": field, "stream_options": {**field, "include_usage": True}, "stream": True}
        yield {**chat, "tools": [{"type": "function", "function": {"name": "f", "parameters": field, **field}}]}
    linked = [{"type": "image_url", "image_url": {"url": place + "/a.png"}}]
    yield {"model": "gpt-4o", "messages": [{"role": "user", "content": linked}]}


@pytest.fixture
async def canary() -> AsyncIterator[PlainServer]:
    async with PlainServer() as server:
        yield server
        assert server.connections == 0, server.requests


def only_ours(rig: Rig) -> None:
    """All that was asked was asked with the configured keys, of the configured hosts, with our own headers."""
    for request in rig.sandbox.requests:
        assert request.key in (PIAPI_KEY, BACKUP_KEY)
        assert {name.decode().lower() for name, _ in request.headers} <= SENT_UPSTREAM
        assert ALICE.encode() not in request.body


async def ask(rig: Rig, target: str, body: dict[str, Any], *lines: str) -> Answer:
    async with rig.client() as client:
        sent = json.dumps(body).encode()
        return await client.request(
            "POST", target, sent, "Content-Type: application/json", f"Authorization: Bearer {ALICE}", *lines
        )


async def test_no_field_of_a_chat_at_any_depth(rig: Rig, canary: PlainServer) -> None:
    answered = [(await ask(rig, PATH, chat)).status for chat in chats(canary.url)]
    assert set(answered) == {200, 400}
    assert answered.count(200) > len(answered) * 0.7, "what is unknown passes, and so it must lead nowhere"
    only_ours(rig)
    for request in rig.sandbox.requests:
        withheld = {"models", "provider", "route", "fallbacks", "plugins", "api_key", "api_base", "base_url"}
        assert not (withheld | {"webhook_config"}) & request.json.keys()
        assert "webhook_config" not in request.json.get("config", {}), "PiAPI's tasks have it there"


async def test_no_field_of_an_order_for_pictures(rig: Rig, canary: PlainServer) -> None:
    for field in fields(canary.url):
        for model in ("gpt-4o-image", "flux-schnell"):
            await ask(rig, "/v1/images/generations", {"model": model, "prompt": "hat", **field})
            await ask(rig, "/v1/images/generations", {"model": model, "prompt": "hat", "user": field, "style": field})
        await ask(rig, PATH, {"model": "gpt-4o-image", "messages": [{**MESSAGES[0], **field}], **field})
    sources = [{"image": canary.url + "/a.png"}, {"image": [{"image_url": canary.url}]}, {"images": [canary.url]}]
    for source in [*sources, {"image": "data:image/png;base64," + as_base64(SOURCE), "mask": canary.url}]:
        await ask(rig, "/v1/images/edits", {"model": "gpt-4o-image", "prompt": "hat", **source})
    only_ours(rig)
    for request in rig.sandbox.requests:
        if isinstance(request.json, dict):
            assert "webhook_config" not in (request.json.get("config") or {})


async def test_no_field_of_a_task(rig: Rig, canary: PlainServer) -> None:
    task = {"model": "Qubico/flux1-schnell", "task_type": "txt2img", "input": {"prompt": "hat"}}
    for field in fields(canary.url):
        assert (await ask(rig, "/api/v1/task", {**task, **field})).status == 400
        assert (await ask(rig, "/api/v1/task", {**task, "config": field})).status == 400
        await ask(rig, "/api/v1/task", {**task, "input": {**task["input"], **field}})  # PiAPI's to judge
        await ask(rig, "/api/v1/task", {**task, "task_type": json.dumps(field), "model": canary.url})
    only_ours(rig)
    for request in rig.sandbox.requests:
        if request.method == "POST":
            assert "config" not in request.json or "webhook_config" not in request.json["config"]


async def test_no_header(rig: Rig, canary: PlainServer) -> None:
    """Nor does any header of a client reach an upstream: its login, its cookies, its hops stay here."""
    hops = ["Connection: x-secret", "X-Secret: canary", "Keep-Alive: timeout=5", "TE: trailers", "Trailer: x-late"]
    private = ["Cookie: session=canary", "X-Forwarded-For: 192.0.2.9", "X-Real-IP: 192.0.2.9", "Via: 1.1 canary"]
    private += ["Proxy-Authorization: Basic canary", "X-Api-Key: " + ALICE, "Api-Key: " + ALICE, "Origin: null"]
    private += ["User-Agent: canary/1", "X-Stainless-Lang: canary", "Accept-Language: canary", "Range: bytes=0-1"]
    chat = {"model": "gpt-4o", "messages": MESSAGES}
    for lines in [[f"{name}: {canary.url}"] for name in HEADERS] + [hops, private, hops + private]:
        assert (await ask(rig, PATH, chat, *lines)).status == 200, lines
        picture = await ask(rig, "/v1/images/generations", {"model": "flux-schnell", "prompt": "hat"}, *lines)
        if lines[0].lower().startswith("x-gateway-webhook:"):  # a name of the configuration, never an address
            assert (picture.status, picture.error()["code"]) == (400, "unknown_webhook")
        else:
            assert picture.status == 200
    only_ours(rig)
    for request in rig.sandbox.requests:
        told = b"\n".join(name + b": " + value for name, value in request.headers if name.lower() != b"host")
        assert not [word for word in (b"canary", b"192.0.2.9", canary.url.encode(), ALICE.encode()) if word in told]


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed_with_a_key(gateway: StartGateway, canary: PlainServer, code: int) -> None:
    rig = await gateway(ask_for_models=True)
    rig.for_all_roles(f"redirect;code={code};location={canary.url}/v1/chat/completions")
    chat = {"model": "gpt-4o", "messages": MESSAGES}
    for body in (chat, {**chat, "stream": True}, {**chat, "model": "gpt-4o-image"}):
        assert (await ask(rig, PATH, body)).error()["code"] in ("upstream_invalid_response", "upstream_outcome_unknown")
    for model in ("gpt-4o-image", "flux-schnell"):
        order = {"model": model, "prompt": "hat"}
        assert (await ask(rig, "/v1/images/generations", order)).status in (502, 504)
    only_ours(rig)


UPSTREAMS_OWN = [
    *("set-cookie: session=canary", "server: canary", "via: 1.1 canary", "x-powered-by: canary", "alt-svc: h3=canary"),
    *(
        "location: https://canary.example",
        "www-authenticate: Basic realm=canary",
        "x-request-id: canary",
        "cf-ray: canary",
    ),
    *("access-control-allow-origin: *", "strict-transport-security: max-age=1", "content-security-policy: canary"),
    *("refresh: 0; url=https://canary.example", "link: <https://canary.example>; rel=preload", "x-should-retry: true"),
    *("openai-organization: canary", "x-ratelimit-limit-requests: 1", "retry-after: 1", "x-gateway-cost-usd: canary"),
    *("connection: x-hop", "x-hop: canary", "proxy-authenticate: canary", "content-disposition: attachment"),
]

GIVEN = {
    *("content-type", "content-length", "x-request-id", "date", "cache-control", "x-accel-buffering", "connection"),
    *("transfer-encoding", "x-should-retry", "retry-after", "retry-after-ms"),
}
"""The names of headers that a client is given, besides ``x-gateway-…``."""


@pytest.mark.parametrize("status", [200, 400, 401, 500])
@pytest.mark.parametrize("stream", [True, False])
async def test_no_header_of_an_upstreams_reaches_a_client(gateway: StartGateway, status: int, stream: bool) -> None:
    said = {"role": "assistant", "content": "hello"}
    whole = {"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-4o", "choices": []}
    whole["choices"] = [{"index": 0, "message": said, "finish_reason": "stop"}]
    body = json.dumps(whole if status == 200 else {"error": {"message": "no", "type": "x", "code": "y"}}).encode()
    head = "\r\n".join([f"HTTP/1.1 {status} OK", *UPSTREAMS_OWN, "content-type: application/json"])
    answer = f"{head}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
    async with PlainServer(answer) as upstream:
        hosts = f"{{endpoints: [{{url: '{upstream.url}'}}]}}"
        rig = await gateway(f"upstreams: {{piapi: {hosts}, backup: {hosts}}}")
        got = await ask(rig, PATH, {"model": "gpt-4o", "messages": MESSAGES, "stream": stream})
        assert got.status == (200 if status == 200 else 400 if status == 400 else 502)
        names = {name for name, _ in got.headers}
        assert {name for name in names if not name.startswith("x-gateway-")} <= GIVEN
        assert not [value for _, value in got.headers if "canary" in value]
        assert got.header("x-should-retry") in (None, "false")
        for sent, _ in upstream.requests:
            assert lines_of(sent).keys() <= SENT_UPSTREAM


async def test_an_upstream_cannot_split_an_answer(gateway: StartGateway) -> None:
    """What it names (a model, a tier, an id) goes into bodies and logs, and adds no line to a head."""
    evil = "x\r\nset-cookie: canary=1\r\n\r\n<script>"
    whole = {"id": evil, "object": "chat.completion", "created": 1, "model": evil, "service_tier": evil}
    whole |= {"system_fingerprint": evil, "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}
    whole["choices"] = [{"index": 0, "message": {"role": "assistant", "content": evil}, "finish_reason": evil}]
    body = json.dumps(whole).encode()
    head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: a\tb\r\n"
    head += f"content-length: {len(body)}\r\n\r\n"
    async with PlainServer(head.encode() + body) as upstream:
        rig = await gateway(f"upstreams: {{piapi: {{endpoints: [{{url: '{upstream.url}'}}]}}}}")
        for stream in (True, False):
            sent = {"model": "gpt-4o", "messages": MESSAGES, "stream": stream, evil: evil, "api_base": evil}
            got = await ask(rig, PATH, sent)
            assert got.header("set-cookie") is None
            assert not [value for _, value in got.headers if "canary" in value]
        assert b"canary" not in await get(f"{rig.gateway.admin_url}/metrics")


def test_no_client_of_ours_asks_the_environment_or_follows_a_redirect() -> None:
    """What is not asked through our own pool is asked by httpx2, which would do both if it were told to."""
    made = 0
    for file in sorted(Path(program.__file__).parent.rglob("*.py")):
        for call in ast.walk(ast.parse(file.read_text("utf-8"))):
            if not isinstance(call, ast.Call):
                continue
            words = {each.arg: ast.unparse(each.value) for each in call.keywords}
            if ast.unparse(call.func) in ("httpx2.AsyncClient", "httpx2.Client"):
                made += 1
                assert words.get("trust_env") == "False", file
            assert words.get("follow_redirects", "False") == "False", file
            assert words.get("verify", "True") != "False", file
            assert ast.unparse(call.func) not in ("httpx2.get", "httpx2.post", "httpx2.stream", "urlopen"), file
            assert "_create_unverified_context" not in ast.unparse(call.func), file
    assert made >= 3
