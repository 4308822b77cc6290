"""Every route there is × no key, a wrong key, the other door's key, the right one; every admin route × odd Hosts.

The lists below are written by hand: a new route fails here until it is said who may use it.
"""

from __future__ import annotations

import re
from typing import Any, cast

import pytest

from gateway.console.routes import console_routes
from gateway.console.source import ConsoleSource
from gateway.endpoints.admin.routes import AdminSource, admin_routes
from tests.raw_client import Answer, RawClient

from .conftest import StartGateway
from .harness import ALICE, Rig, chat_body

ADMIN_KEY = "admin-0123456789abcdef-secret"
LOCKED = f"admin: {{key: {ADMIN_KEY}}}"

FOR_ANYONE = {"GET /", "GET /healthz", "GET /readyz", "GET /images/{name}", "POST /webhooks/piapi/{token}"}
"""What asks for no key: where one is, whether it is well, and paths that are secrets themselves."""

FOR_KEYS = {
    "POST /v1/chat/completions",
    "POST /v1/messages",
    "POST /v1/messages/count_tokens",
    "POST /v1/images/generations",
    "POST /v1/images/edits",
    "POST /v1/images/variations",
    "POST /v1/embeddings",
    "POST /v1/completions",
    "POST /v1/moderations",
    "POST /v1/audio/speech",
    "POST /v1/audio/transcriptions",
    "POST /v1/audio/translations",
    "POST /api/v1/task",
    "GET /api/v1/task/{id}",
    "POST /v1/responses",
    "POST /v1/responses/compact",
    "POST /v1/responses/input_tokens",
    "GET /v1/responses/{response_id}",
    "DELETE /v1/responses/{response_id}",
    "GET /v1/responses/{response_id}/input_items",
    "POST /v1/responses/{response_id}/cancel",
    "GET /v1/jobs",
    "GET /v1/jobs/{job_id}",
    "DELETE /v1/jobs/{job_id}",
    "GET /v1/models",
    "GET /v1/models/{model}",
}
"""What asks for a virtual key."""

FOR_PEOPLE = {
    "GET /",
    "GET /console",
    "GET /console/spend",
    "GET /console/spend.csv",
    "GET /console/requests",
    "GET /console/jobs",
    "GET /console/jobs/{key}/{job_id}",
    "GET /console/jobs/{key}/{job_id}/pictures/{number}",
    "GET /console/keys",
    "POST /console/keys",
    "GET /console/keys/{name}",
    "POST /console/keys/{name}",
    "POST /console/keys/{name}/rotate",
    "POST /console/keys/{name}/revoke",
    "GET /console/try",
    "POST /console/try",
    "POST /console/sign-in",
    "POST /console/sign-out",
}
"""The console's, on the admin listener, behind the admin key as all others there are."""

STATIC = "GET /console/static/{name}"
"""Its style and its script, which the form for the key needs: they are the same everywhere, and open to all."""

BODIES = {"POST": chat_body(), "PATCH": b"{}"}

BAD_HOSTS = [
    *("h/?", "h/#@x", "h/admin/../", "h?x", "u@h", "h:1:2", "h:999999", "h\\@x", "h h", "[::1", "[::1]x", "h,g", "h;g"),
    *("http://h", "%68", "h\x00", "h\tg", "*", "", "ｈ"),
]


class _Anything:
    def __getattr__(self, name: str) -> Any:
        return None


def admin_inventory() -> list[tuple[str, str]]:
    """Method and path of every route of the admin listener that asks for the key."""
    routes = admin_routes(cast("AdminSource", _Anything()))
    api = {(method, route.path) for route in routes for method in route.methods or ()}
    console = console_routes(cast("ConsoleSource", _Anything()))
    pages = {(method, path) for path, methods in console.items() for method in methods}
    return sorted(api | pages - {(*STATIC.split(" "),)})


def real(path: str) -> str:
    """A path with something in place of its parameters."""
    return re.sub(r"\{[^}]+\}", "something", path)


async def ask(url: str, method: str, path: str, *lines: str) -> Answer:
    """A request on a connection of its own, as one must expect a refusal to close it."""
    client = await RawClient.connect(url)
    try:
        return await client.request(
            method, real(path), BODIES.get(method, b""), "Content-Type: application/json", *lines
        )
    finally:
        await client.close()


def told(answer: Answer) -> str:
    """OpenAI's code of an error, or where Claude's clients are answered its type."""
    document = answer.json()
    return str(document["error"]["type"] if document.get("type") == "error" else answer.error()["code"])


def bearer(key: str) -> str:
    return f"Authorization: Bearer {key}"


async def test_the_lists_are_complete(rig: Rig) -> None:
    shown = set((await ask(rig.gateway.main_url, "GET", "/")).json()["routes"])
    assert shown | {"POST /webhooks/piapi/{token}"} == FOR_ANYONE | FOR_KEYS
    console = console_routes(cast("ConsoleSource", _Anything()))
    pages = {f"{method} {path}" for path, methods in console.items() for method in methods}
    assert pages == FOR_PEOPLE | {STATIC}
    lines = FOR_ANYONE | FOR_KEYS | FOR_PEOPLE | {STATIC}
    paths = {line.partition(" ")[2] for line in lines} | {path for _, path in admin_inventory()}
    assert rig.gateway.services.metrics._listed_routes == paths


@pytest.mark.parametrize("line", sorted(FOR_KEYS))
async def test_the_api_opens_to_virtual_keys_alone(gateway: StartGateway, line: str) -> None:
    rig = await gateway(LOCKED)
    method, path = line.split(" ")
    methods = ("GET", "HEAD") if method == "GET" else (method,)
    for each in methods:
        for lines in ([], [bearer("gw-nobodys-key-00000")], [bearer(ADMIN_KEY)]):
            answer = await ask(rig.gateway.main_url, each, path, *lines)
            assert answer.status == 401, (each, lines)
            assert each == "HEAD" or told(answer) in ("invalid_api_key", "authentication_error")
        twice = await ask(rig.gateway.main_url, each, path, bearer(ALICE), bearer(ALICE))
        assert twice.status == 400
        assert each == "HEAD" or told(twice) in ("ambiguous_api_key", "invalid_request_error")
        assert (await ask(rig.gateway.main_url, each, path, bearer(ALICE))).status not in (401, 403)
    assert [request.role for request in rig.sandbox.requests if "image" in request.path or "task" in request.path] == []


@pytest.mark.parametrize(("method", "path"), admin_inventory())
async def test_the_admin_listener_opens_to_the_admin_key_alone(gateway: StartGateway, method: str, path: str) -> None:
    rig = await gateway(LOCKED)
    page = "Origin: https://page.example"
    for lines in ([], [bearer("wrong")], [bearer(ALICE)], [bearer(ADMIN_KEY[:-1])], [f"X-Api-Key: {ADMIN_KEY}"]):
        answer = await ask(rig.gateway.admin_url, method, path, *lines, page)
        # 429: too many have failed from this address; 403: a page may write nothing, key or no key.
        assert answer.status in (401, 429, *((403,) if method not in ("GET", "HEAD") else ())), lines
        assert answer.header("access-control-allow-origin") is None
    opened = await ask(rig.gateway.admin_url, method, path, bearer(ADMIN_KEY))
    assert opened.status not in (401, 403, 429)
    assert opened.header("access-control-allow-origin") is None
    # None of it is on the other listener, not even for who has the key; that has a first page of its own.
    assert path == "/" or (await ask(rig.gateway.main_url, method, path, bearer(ADMIN_KEY))).status in (404, 405)


@pytest.mark.parametrize(("method", "path"), admin_inventory())
async def test_no_host_gets_around_the_admin_key(gateway: StartGateway, method: str, path: str) -> None:
    """What a Host says is never part of the path that is authorised: an odd one is a 400, key or no key."""
    rig = await gateway(LOCKED)
    for host in [[f"Host: {host}"] for host in BAD_HOSTS] + [[], ["Host: h", "Host: h"], ["Host: h", "hOST: g"]]:
        for key in ([], [bearer(ADMIN_KEY)]):
            lines = "\r\n".join([f"{method} {real(path)} HTTP/1.1", *host, *key, "", ""])
            assert await status(rig.gateway.admin_url, lines.encode()) == 400, (host, key)
    for target in (f"http://h{real(path)}", f"h{real(path)}", "*", f"{real(path)}#x"):
        lines = f"{method} {target} HTTP/1.1\r\nHost: h\r\n{bearer(ADMIN_KEY)}\r\n\r\n"
        assert await status(rig.gateway.admin_url, lines.encode()) == 400, target
    lines = f"{method} {real(path)} HTTP/1.1\r\nHost: healthz\r\n\r\n"
    assert await status(rig.gateway.admin_url, lines.encode()) in (401, 403, 429)


async def status(url: str, data: bytes) -> int:
    """The status of the first answer to these bytes."""
    client = await RawClient.connect(url)
    try:
        await client.send(data)
        line = await client.reader.readuntil(b"\r\n")
        return int(line.split(b" ")[1])
    finally:
        await client.close()
