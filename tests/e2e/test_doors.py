"""The doors of a whole gateway: base URLs and paths in every spelling, keys in every header, health checks, HTTP/1.0,
HEAD, and pages in browsers. The admin routes are behind none of them.
"""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from gateway import __version__
from tests.raw_client import Answer, RawClient
from tests.yaml_text import read_yaml, write_yaml

from .conftest import StartGateway
from .harness import ALICE, MESSAGES, PATH, Rig, chat_body, eventually

OPEN = "{auth: none, keys: []}"
"""A gateway that asks for no key."""

PAGE = "https://app.example"


async def ask(rig: Rig, method: str, target: str, body: bytes = b"", *lines: str, key: str | None = ALICE) -> Answer:
    """A request on a connection of its own."""
    async with rig.client() as client:
        bearer = [] if key is None else [f"Authorization: Bearer {key}"]
        return await client.request(method, target, body, "Content-Type: application/json", *bearer, *lines)


async def reconfigure(rig: Rig, **changes: Any) -> None:
    """Write these settings into the file and have it read again, as SIGHUP does."""
    path = rig.folder / "config.yaml"
    document = read_yaml(path.read_text(encoding="utf-8"))
    path.write_text(write_yaml({**document, **changes}), encoding="utf-8")
    assert await rig.gateway.reload() == []


class TestPaths:
    @pytest.mark.parametrize("base", ["", "/", "/v1", "/v1/", "/v1/v1", "//v1", "/v1/v1/"])
    async def test_the_sdk_works_with_every_base_url(self, rig: Rig, base: str) -> None:
        sdk = rig.openai(base_url=rig.gateway.main_url + base)
        whole = await sdk.chat.completions.create(model="gpt-4o", messages=MESSAGES)
        stream = await sdk.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
        told = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
        assert whole.choices[0].message.content == told != ""
        assert "gpt-4o" in [model.id async for model in sdk.models.list()]
        assert (await sdk.models.retrieve("gpt-4o")).id == "gpt-4o"
        figures = await rig.figures()
        assert figures.total("gateway_requests_total", route=PATH, status="200") == 2

    @pytest.mark.parametrize("target", ["/chat/completions/", "//v1//chat/completions", "/v1/v1/chat/completions"])
    async def test_the_body_comes_along_and_the_answer_is_the_same(self, rig: Rig, target: str) -> None:
        answer = await ask(rig, "POST", target + "?x=1", chat_body(stream=True))
        assert answer.payloads[-1] == b"[DONE]"
        assert (await rig.row()).status == 200

    async def test_pictures_tasks_and_models_have_their_spellings_too(self, gateway: StartGateway) -> None:
        rig = await gateway(
            "models: {org/m/x: {targets: [{upstream: backup, model: gpt-4o}]}}\n"
            "keys: [{name: alice, key: " + ALICE + "}]"
        )
        order = json.dumps({"model": "flux-schnell", "prompt": "a hat"}).encode()
        for target in ("/images/generations", "/v1/v1/images/generations/", "//images//generations"):
            answer = await ask(rig, "POST", target, order)
            assert answer.status == 200, answer.body
            link = answer.json()["data"][0]["url"]
            assert link
        task = {"model": "Qubico/flux1-schnell", "task_type": "txt2img", "input": {"prompt": "a hat"}}
        made = await ask(rig, "POST", "/api//v1/task/", json.dumps(task).encode())
        assert made.status == 200, made.body
        number = made.json()["data"]["task_id"]
        for target in (f"/api/v1/task/{number}/", f"/api/task/{number}", f"/v1//api/v1/task//{number}"):
            assert (await ask(rig, "GET", target)).json()["data"]["task_id"] == number
        for target in ("/v1/models/org/m/x", "/models//org/m//x/", "/v1/v1/models/org%2Fm%2Fx"):
            assert (await ask(rig, "GET", target)).json()["id"] == "org/m/x"

    @pytest.mark.parametrize("target", ["/", "//", "/v1", "/v1/"])
    async def test_the_front_page_says_where_one_is(self, rig: Rig, target: str) -> None:
        page = (await ask(rig, "GET", target, key=None)).json()
        assert (page["name"], page["version"]) == ("piapi-gateway", __version__)
        for route in ("POST /v1/chat/completions", "GET /v1/models", "POST /api/v1/task", "GET /api/v1/task/{id}"):
            assert route in page["routes"]
        assert not [route for route in page["routes"] if "admin" in route or "webhooks" in route]
        refused = await ask(rig, "POST", target, chat_body(), key=None)
        assert (refused.status, refused.header("allow")) == (405, "GET, HEAD")
        assert "POST /v1/chat/completions" in refused.error()["message"]

    async def test_a_path_that_is_none_is_told_what_is(self, rig: Rig) -> None:
        azure = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
        for target in ("/v1/chat/completion", azure, "/api/v1/chat/completions"):
            error = (await ask(rig, "POST", target, chat_body())).error()
            assert error["code"] == "unknown_url"
            assert "Did you mean POST /v1/chat/completions?" in error["message"]
        for target in ("/v1/images/generation", "/images/generation", "/images/variation/"):
            answer = await ask(rig, "POST", target, b"{}")
            assert answer.status == (404 if "v1" in target else 405)
            assert "Did you mean POST /v1/images/" in answer.error()["message"]
        assert "GET /v1/models" in (await ask(rig, "POST", "/v1/vector_stores", b"{}")).error()["message"]


class TestNoAdminRoutes:
    ADMIN = ("metrics", "admin/v1/keys", "admin/v1/usage", "admin/v1/reload", "admin/v1/upstreams", "admin/v1/verify")

    @pytest.mark.parametrize("route", ADMIN)
    async def test_no_spelling_leads_to_them(self, rig: Rig, route: str) -> None:
        for before in ("/", "//", "/v1/", "/v1/v1/", "/api/", "/api/v1/", "/x/../", "/%2e%2e/", "/images/../", "/./"):
            for path in (before + route, before + route + "/", before + route.replace("/", "%2F")):
                for method in ("GET", "POST", "HEAD"):
                    answer = await ask(rig, method, path, key=None)
                    assert answer.status in (404, 405), (method, path)
                    assert b"gateway_requests" not in answer.body

    async def test_odd_paths_reach_nothing_they_should_not_and_break_nothing(self, rig: Rig) -> None:
        """Ten thousand paths made of everything that ever meant something to somebody's router."""
        chance = random.Random(6)
        words = ["v1", "api", "admin", "metrics", "keys", "models", "images", "task", "webhooks", "piapi", "healthz"]
        words += ["chat", "completions", "gpt-4o", "..", ".", "", "%2e%2e", "%2F", "%00", "%ff", "%", ";", "~", "*"]
        words += ["{id}", "{name}", "a+b", "%252e", "V1", "x" * 300]
        client = await rig.connect()
        seen = set()
        for _ in range(10_000):
            path = "/" + "/".join(chance.choices(words, k=chance.randint(0, 7)))
            method = chance.choice(("GET", "HEAD", "OPTIONS", "DELETE", "GET"))
            answer = await client.request(method, path)
            seen.add(answer.status)
            assert answer.status in (200, 204, 401, 404, 405), (method, path, answer.status)
            if answer.status == 200 and method == "GET":
                assert "status" in answer.json() or answer.json()["object"] == "gateway", path
        await client.close()
        assert seen == {200, 204, 401, 404, 405}


class TestKeys:
    @pytest.mark.parametrize("name", ["Authorization: Bearer ", "X-Api-Key: ", "api-key: ", "API-Key: "])
    async def test_a_key_may_come_in_any_of_three_headers(self, rig: Rig, name: str) -> None:
        answer = await ask(rig, "POST", PATH, chat_body(), name + ALICE, key=None)
        assert answer.status == 200
        assert (await rig.row()).key == "alice"
        assert (await ask(rig, "POST", PATH, chat_body(), name + "gw-wrong", key=None)).status == 401

    async def test_the_sdk_may_send_azures_header_alone(self, rig: Rig) -> None:
        sdk = rig.openai(api_key="none", default_headers={"api-key": ALICE, "Authorization": ""})
        completion = await sdk.chat.completions.create(model="gpt-4o", messages=MESSAGES)
        assert completion.choices[0].message.content
        assert (await rig.row()).key == "alice"


class TestHead:
    @pytest.mark.parametrize(
        "target", ["/", "/v1", "/healthz", "/readyz", "/v1/models", "/models/gpt-4o", "/v1/models/x"]
    )
    async def test_it_says_what_get_says_without_the_body(self, rig: Rig, target: str) -> None:
        async with rig.client() as client:
            bearer = f"Authorization: Bearer {ALICE}"
            head = await client.request("HEAD", target, b"", bearer)
            got = await client.request("GET", target, b"", bearer)
        assert (head.status, head.body) == (got.status, b"")
        assert head.header("content-length") == str(len(got.body))
        names = [name for name, _ in got.headers]
        assert [name for name, _ in head.headers] == names

    @pytest.mark.parametrize("target", ["/metrics", "/admin/v1/keys", "/admin/v1/upstreams", "/admin/v1/usage"])
    async def test_on_the_admin_listener_as_well(self, rig: Rig, target: str) -> None:
        client = await RawClient.connect(rig.gateway.admin_url)
        head = await client.request("HEAD", target)
        got = await client.request("GET", target)
        await client.close()
        assert (head.status, head.body, got.status) == (200, b"", 200)
        assert head.header("content-type") == got.header("content-type")
        assert int(head.header("content-length") or 0) > 0


class TestOptions:
    """HAProxy's ``option httpchk /readyz`` asks with this method; browsers ask with it before they ask."""

    async def test_of_a_health_route_says_what_get_says(self, rig: Rig) -> None:
        async with rig.client() as client:
            assert (await client.request("OPTIONS", "/readyz")).json() == {"status": "ok"}
            rig.gateway.leave()
            answer = await client.request("OPTIONS", "/readyz")
            assert (answer.status, answer.json()["reasons"]) == (503, ["draining"])
            assert (await client.request("OPTIONS", "/healthz")).status == 200
            assert (await client.request("OPTIONS", "/v1/models")).status == 204
            assert "OPTIONS" not in (await client.request("GET", "/")).body.decode()

    async def test_of_a_page_stays_a_preflight(self, gateway: StartGateway) -> None:
        rig = await gateway("cors: {origins: ['https://app.example']}")
        async with rig.client() as client:
            asks = "Access-Control-Request-Method: GET"
            answer = await client.request("OPTIONS", "/readyz", b"", "Origin: https://app.example", asks)
            assert (answer.status, answer.body) == (204, b"")
            assert answer.header("access-control-allow-methods")
            refused = await client.request("OPTIONS", "/readyz", b"", "Origin: https://evil.example", asks)
            assert refused.status == 403


class TestOldHttp:
    async def raw(self, rig: Rig, data: bytes) -> bytes:
        """Everything that comes back until the gateway closes."""
        client = await rig.connect()
        await client.send(data)
        came = await client.closed()
        await client.close()
        return came

    def post(self, body: bytes, *lines: str) -> bytes:
        fields = ["Host: gateway", f"Authorization: Bearer {ALICE}", f"Content-Length: {len(body)}", *lines]
        return f"POST {PATH} HTTP/1.0\r\n".encode() + "\r\n".join(fields).encode() + b"\r\n\r\n" + body

    @pytest.mark.parametrize("line", ["Connection: close", "Connection: keep-alive", "X: y"])
    async def test_a_stream_has_no_chunks_and_ends_with_the_connection(self, rig: Rig, line: str) -> None:
        head, _, body = (await self.raw(rig, self.post(chat_body(stream=True), line))).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in head
        assert b"transfer-encoding" not in head
        assert b"content-length" not in head
        assert body.startswith(b"data: {")
        assert body.endswith(b"data: [DONE]\n\n")

    async def test_a_whole_answer_has_its_length(self, rig: Rig) -> None:
        head, _, body = (await self.raw(rig, self.post(chat_body()))).partition(b"\r\n\r\n")
        assert f"content-length: {len(body)}".encode() in head
        assert b"connection: close" in head
        assert json.loads(body)["choices"]

    @pytest.mark.parametrize("scenario", ["sse_error_late", "cut", "rst", "clean_eof"])
    async def test_a_stream_that_broke_is_known_by_its_last_event(self, rig: Rig, scenario: str) -> None:
        rig.for_all_roles(scenario)
        body = (await self.raw(rig, self.post(chat_body(stream=True)))).partition(b"\r\n\r\n")[2]
        assert b"[DONE]" not in body
        assert body.rstrip().rpartition(b"\n")[2].startswith(b'data: {"error":')

    async def test_errors_are_whole_as_well(self, rig: Rig) -> None:
        head, _, body = (await self.raw(rig, self.post(b"{"))).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert f"content-length: {len(body)}".encode() in head

    @pytest.mark.parametrize("version", ["1.0", "1.1"])
    @pytest.mark.parametrize("host", ["", "Host:\r\n"])
    async def test_only_health_checks_may_lack_a_host(self, gateway: StartGateway, version: str, host: str) -> None:
        for rig in (await gateway(), await gateway(OPEN)):
            for target in ("/healthz", "/readyz", "//healthz", "/readyz/", "/healthz?x"):
                for method in ("GET", "HEAD", "OPTIONS"):
                    lines = f"{method} {target} HTTP/{version}\r\n{host}Connection: close\r\n\r\n"
                    assert (await self.raw(rig, lines.encode())).startswith(b"HTTP/1.1 200 ")
            for target in ("/", "/v1/models", "/healthzz", "/images/x", "/metrics"):
                lines = f"GET {target} HTTP/{version}\r\n{host}\r\n"
                assert (await self.raw(rig, lines.encode())).startswith(b"HTTP/1.1 400 ")
            two = f"GET /healthz HTTP/{version}\r\nHost: a\r\nHost: a\r\n\r\n"
            assert (await self.raw(rig, two.encode())).startswith(b"HTTP/1.1 400 ")


class TestThisMachine:
    async def test_it_is_asked_without_a_key_under_its_names_only(self, gateway: StartGateway) -> None:
        rig = await gateway("{auth: none, keys: [], hosts: [Gateway.LAN, 10.1.2.3]}")
        for host in (
            "localhost",
            "host.docker.internal:8400",
            "gateway.localhost",
            "GATEWAY.lan.:8400",
            "10.1.2.3:1",
            "[::1]",
        ):
            assert await self.status(rig, host) == 200, host
        for host in ("other.lan", "sub.gateway.lan", "10.1.2.4", "docker.internal", "localhost.evil"):
            assert await self.status(rig, host) == 403, host
        assert b"'hosts'" in await self.body(rig, "other.lan")

    async def test_a_reload_adds_and_takes_names(self, gateway: StartGateway) -> None:
        rig = await gateway(OPEN)
        assert await self.status(rig, "gateway.lan") == 403
        await reconfigure(rig, hosts=["gateway.lan"])
        assert await self.status(rig, "gateway.lan:8400") == 200
        assert await self.status(rig, "gateway.lan", admin=True) == 200
        await reconfigure(rig, hosts=[])
        assert await self.status(rig, "gateway.lan") == 403
        assert await self.status(rig, "gateway.lan", admin=True) == 403

    async def status(self, rig: Rig, host: str, *, admin: bool = False) -> int:
        return int((await self.raw(rig, host, admin)).split()[1])

    async def body(self, rig: Rig, host: str) -> bytes:
        return await self.raw(rig, host, False)

    async def raw(self, rig: Rig, host: str, admin: bool) -> bytes:
        client = await RawClient.connect(rig.gateway.admin_url if admin else rig.gateway.main_url)
        target = "/metrics" if admin else "/v1/models"
        await client.send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        came = await client.closed()
        await client.close()
        return came


class TestPages:
    """A page of another origin, as its browser asks for it."""

    LISTED = "cors: {origins: ['" + PAGE + "']}"

    def allowed(self, answer: Answer) -> str | None:
        return answer.header("access-control-allow-origin")

    async def test_a_listed_page_can_stream_and_read_everything(self, gateway: StartGateway) -> None:
        rig = await gateway(self.LISTED)
        asked = ("Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization,x-stainless-os")
        granted = await ask(rig, "OPTIONS", PATH, b"", f"Origin: {PAGE}", *asked, key=None)
        assert (granted.status, self.allowed(granted)) == (204, PAGE)
        assert granted.header("access-control-allow-headers") == "authorization, x-stainless-os"
        for body, status in ((chat_body(stream=True), 200), (chat_body(), 200), (b"{", 400), (b" " * (21 << 20), 413)):
            answer = await ask(rig, "POST", PATH, body, f"Origin: {PAGE}")
            assert (answer.status, self.allowed(answer)) == (status, PAGE)
            exposed = (answer.header("access-control-expose-headers") or "").split(", ")
            assert {"x-request-id", "x-should-retry", "retry-after", "x-gateway-attempts"} <= set(exposed)
            own = {name for name, _ in answer.headers if name.startswith(("x-gateway", "x-ratelimit", "x-request"))}
            assert own <= set(exposed)
        for target, status in (("/v1/models", 401), ("/nothing", 404), ("/healthz", 200), ("/images/x.png", 404)):
            answer = await ask(rig, "GET", target, b"", f"Origin: {PAGE}", key=None)
            assert (answer.status, self.allowed(answer)) == (status, PAGE)

    @pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:3000", "app://obsidian.md"])
    async def test_where_keys_are_asked_for_others_read_nothing(self, gateway: StartGateway, origin: str) -> None:
        rig = await gateway(self.LISTED)
        answer = await ask(rig, "POST", PATH, chat_body(), f"Origin: {origin}")
        assert (answer.status, self.allowed(answer)) == (200, None)  # the key makes the request, the browser hides it
        refused = await ask(rig, "OPTIONS", PATH, b"", f"Origin: {origin}", "Access-Control-Request-Method: POST")
        assert (refused.status, self.allowed(refused)) == (403, None)
        assert "cors.origins" in refused.error()["message"]

    @pytest.mark.parametrize(
        "origin",
        [
            "app://obsidian.md",
            "tauri://localhost",
            "vscode-file://vscode-app",
            "http://localhost:3000",
            "http://127.0.0.1:5173",
            "https://[::1]:8443",
            "http://tauri.localhost",
        ],
    )
    async def test_without_keys_programs_and_local_pages_pass(self, gateway: StartGateway, origin: str) -> None:
        rig = await gateway(OPEN)
        asked = ("Access-Control-Request-Method: POST", "Access-Control-Request-Private-Network: true")
        granted = await ask(rig, "OPTIONS", PATH, b"", f"Origin: {origin}", *asked, key=None)
        assert (granted.status, self.allowed(granted)) == (204, origin)
        assert granted.header("access-control-allow-private-network") == "true"
        answer = await ask(
            rig, "POST", PATH, chat_body(stream=True), f"Origin: {origin}", "Sec-Fetch-Site: cross-site", key=None
        )
        assert (answer.status, self.allowed(answer)) == (200, origin)

    @pytest.mark.parametrize(
        "origin", ["null", "https://evil.example", "http://localhost.evil.example", "file://", "capacitor://localhost"]
    )
    async def test_without_keys_all_others_are_refused(self, gateway: StartGateway, origin: str) -> None:
        rig = await gateway(OPEN)
        for method, target, body in (
            ("POST", PATH, chat_body()),
            ("POST", "//chat//completions", chat_body()),
            ("POST", "/images/generations", b"{}"),  # not below what /images/ leaves open
            ("GET", "/v1/models", b""),
            ("OPTIONS", PATH, b""),
        ):
            answer = await ask(rig, method, target, body, f"Origin: {origin}", key=None)
            assert (answer.status, self.allowed(answer)) == (403, None), target
            assert answer.error()["code"] == "foreign_origin"
            assert "cors.origins" in answer.error()["message"]
        await eventually(lambda: len(rig.gateway.services.gate) == 0, "nothing begun")
        assert rig.sandbox.open_connections == 0

    async def test_a_reload_lists_and_strikes_a_page(self, gateway: StartGateway) -> None:
        rig = await gateway(OPEN)
        post = ("POST", PATH, chat_body(), f"Origin: {PAGE}")
        assert (await ask(rig, *post, key=None)).status == 403
        await reconfigure(rig, cors={"origins": [PAGE]})
        answer = await ask(rig, *post, key=None)
        assert (answer.status, self.allowed(answer)) == (200, PAGE)
        await reconfigure(rig, cors={"origins": []})
        assert (await ask(rig, *post, key=None)).status == 403

    async def test_the_admin_listener_answers_no_page(self, gateway: StartGateway) -> None:
        rig = await gateway(self.LISTED)
        client = await RawClient.connect(rig.gateway.admin_url)
        for method in ("GET", "OPTIONS"):
            lines = (f"Origin: {PAGE}", "Access-Control-Request-Method: GET")
            answer = await client.request(method, "/metrics", b"", *lines)
            assert (answer.status, self.allowed(answer)) == (403, None)
        await client.close()


class TestModels:
    async def test_no_pattern_is_listed_but_its_known_members_are(self, gateway: StartGateway) -> None:
        rig = await gateway("models: {'mine/*': {targets: [{upstream: backup, model: '*'}]}}")
        models = (await ask(rig, "GET", "/v1/models")).json()["data"]
        names = [model["id"] for model in models]
        assert not [name for name in names if "*" in name]
        assert "mine/gpt-4o" in names
        owners = {model["id"]: model["owned_by"] for model in models}
        assert (owners["mine/gpt-4o"], owners["gpt-4o"]) == ("openai", "openai")
        for name in (*names, "gpt-4-gizmo-g-abc", "mine/whatever"):
            assert (await ask(rig, "GET", f"/v1/models/{name}")).json()["id"] == name
        assert (await ask(rig, "GET", "/v1/models/mine/*")).error()["code"] == "model_not_found"
        answer = await ask(rig, "POST", PATH, chat_body(model="mine/gpt-4o"))
        assert answer.status == 200
