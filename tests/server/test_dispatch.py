"""Routes found and not found, methods, and what becomes of what endpoints raise."""

from __future__ import annotations

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from gateway.core.errors import invalid_request, rate_limit_exceeded
from gateway.core.limits.auth_throttle import AuthThrottle
from gateway.core.routing.listed_models import NOTHING_LISTED
from gateway.core.routing.model_listing import ModelListing
from gateway.core.routing.route_table import RouteTable
from gateway.core.types import Endpoint, Target, Upstream, VirtualKey
from gateway.core.types import Route as ModelRoute
from gateway.endpoints.auth import Authenticator
from gateway.endpoints.health import health_routes
from gateway.endpoints.models import model_routes
from gateway.server.dispatch import Dispatch
from tests.endpoints.test_auth import ALICE, digest
from tests.in_force import Settings
from tests.raw_client import until

PIAPI = Upstream("piapi", "piapi", (Endpoint("https://api.example", "https", "api.example", 443),), ())
BACKUP = Upstream("backup", "openai", PIAPI.endpoints, ())
ROUTES = RouteTable(
    [
        ModelRoute("gpt-4o", (Target(PIAPI, "gpt-4o"), Target(BACKUP, "gpt-4o"))),
        ModelRoute("Qubico/flux1-dev", (Target(BACKUP, "Qubico/flux1-dev"),)),
        ModelRoute("gpt-4-gizmo-*", (Target(PIAPI, "gpt-4-gizmo-*"),)),
    ]
)
LISTING = ModelListing(ROUTES, NOTHING_LISTED, 0)
FLUX_ONLY = VirtualKey("flux-only", digest(b"sk-flux"), models=("Qubico/*",))


class Admission:
    """A gateway with one hot route and the ordinary ones. ``raises``: what the hot endpoint raises."""

    def __init__(self) -> None:
        self.raises: Exception | None = None
        self.before: list[str] = []
        self.crashes: list[tuple[str, Exception]] = []
        self.reasons: list[str] = []
        keys = {key.digest: key for key in (ALICE, FLUX_ONLY)}
        self.authenticator = Authenticator(keys.get, lambda: True, AuthThrottle(), lambda: 0.0, Settings())
        self.own = {
            "/v1/chat/completions": {"POST": self.chat},
            **health_routes(lambda: self.reasons),
            **model_routes(self.authenticator, lambda: LISTING, lambda _: False),
        }
        self.cold_routes = [Route("/cold", self.cold, methods=["POST"])]
        self.app = Dispatch(
            self.own,
            self.cold_routes,
            lambda request_id, crash: self.crashes.append((request_id, crash)),
        )

    async def chat(self, request, client):
        if "start" in self.before:
            await client.start(200, ((b"content-type", b"text/event-stream"),))
        if "respond" in self.before:
            await client.respond(200, (), b"{}")
        if self.raises is not None:
            raise self.raises
        await client.respond(200, (), b'"hot"')

    async def cold(self, request: Request) -> PlainTextResponse:
        if self.raises is not None:
            raise self.raises
        await request.body()
        return PlainTextResponse("cold")


@pytest.fixture
def door():
    return Admission()


@pytest.fixture
async def client(door, serve, connect):
    return await connect(await serve(door.app))


async def test_hot_and_ordinary_routes_are_both_found_and_labelled(client):
    for method, path, body in (("POST", "/v1/chat/completions?a=b", b'"hot"'), ("POST", "/cold", b"cold")):
        answer = await client.request(method, path, b"{}", "X-Request-Id: mine")
        assert answer.status == 200
        assert answer.body == body
        assert [value for name, value in answer.headers if name == "x-request-id"] == ["mine"]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/V1/models",
        "/v1/Models",
        "/v1/chat%2fcompletions",
        "/v1%2fmodels",
        "/v1/%6dodels",
        "/%76%31/models",
        "/v1/./models",
        "/v1/x/../models",
        "/v1/models;x",
        "/v2/models",
    ],
)
async def test_an_unknown_path_is_404_and_dots_and_codes_are_taken_at_their_word(path, client):
    answer = await client.request("GET", path, b"", "Authorization: Bearer sk-alice")
    assert answer.status == 404
    assert answer.error()["type"] == "invalid_request_error"
    assert answer.error()["code"] in ("unknown_url", "model_not_found")


@pytest.mark.parametrize(
    ("method", "path", "status", "attempts"),
    [
        ("GET", "/v1/models", 200, ["0"]),
        ("GET", "/v1/models/gpt-4o", 200, ["0"]),
        ("GET", "/v1/models/gpt-9", 404, ["0"]),
        ("GET", "/v1/nothing", 404, ["0"]),
        ("GET", "/api/v1/nothing", 404, ["0"]),
        ("DELETE", "/v1/models", 405, ["0"]),
        ("GET", "/v1/chat/completions", 405, ["0"]),
        ("GET", "/healthz", 200, []),
        ("GET", "/nothing", 404, []),
    ],
)
async def test_what_needed_no_upstream_tells_of_no_attempts(method, path, status, attempts, client):
    answer = await client.request(method, path, b"", "Authorization: Bearer sk-alice")
    assert answer.status == status
    assert [value for name, value in answer.headers if name == "x-gateway-attempts"] == attempts


async def test_a_refusal_before_any_attempt_tells_of_none(door, client):
    door.raises = rate_limit_exceeded("Slow down.", 1.0)
    answer = await client.request("POST", "/v1/chat/completions", b"{}")
    assert answer.status == 429
    assert answer.header("x-gateway-attempts") == "0"


@pytest.mark.parametrize("prefix", ["", "/v1", "/v1/v1", "/v1/v1/v1", "//v1", "//v1//v1/", "/"])
@pytest.mark.parametrize("end", ["", "/", "//", "?api-version=1", "/?a=b"])
async def test_every_spelling_of_a_base_url_leads_to_the_same_routes(prefix, end, client):
    bearer = "Authorization: Bearer sk-alice"
    for method, path, status in (
        ("POST", "/chat/completions", 200),
        ("POST", "/chat//completions", 200),
        ("GET", "/chat/completions", 405),
        ("GET", "/models", 200),
        ("GET", "/models/Qubico/flux1-dev", 200),
        ("GET", "/models//Qubico//flux1-dev", 200),
        ("GET", "/models/Qubico%2Fflux1-dev", 200),
        ("GET", "/models/gpt-9", 404),
        ("GET", "/healthz", 200),
        ("POST", "/cold", 200),
    ):
        answer = await client.request(method, prefix + path + end, b"{}" if method == "POST" else b"", bearer)
        assert answer.status == status, path
        if "flux1" in path:
            assert answer.json()["id"] == "Qubico/flux1-dev"
        if path.startswith("/models") or status == 405:
            assert answer.header("x-gateway-attempts") == "0"


@pytest.mark.parametrize(
    ("method", "path", "meant"),
    [
        ("POST", "/v1/chat/completion", "POST /v1/chat/completions"),
        ("POST", "/openai/deployments/gpt-4o/chat/completions?api-version=2024", "POST /v1/chat/completions"),
        ("POST", "/api/v1/chat/completions", "POST /v1/chat/completions"),
        ("POST", "/completions", "POST /v1/chat/completions"),
        ("GET", "/v1/model", "GET /v1/models"),
        ("GET", "/V1/models", "GET /v1/models"),
    ],
)
async def test_an_unknown_path_is_told_the_nearest_route_and_all_there_are(method, path, meant, client):
    message = (await client.request(method, path)).error()["message"]
    assert message.startswith(f"There is no route {method} {path.partition('?')[0]} ")
    assert f"Did you mean {meant}?" in message
    for route in ("GET /healthz", "GET /v1/models,", "GET /v1/models/{model}", "POST /cold"):
        assert route in message


async def test_what_is_like_nothing_is_told_all_there_are(client):
    message = (await client.request("POST", "/v1/embeddings")).error()["message"]
    assert "Did you mean" not in message
    assert "POST /v1/chat/completions" in message


async def test_an_encoded_path_is_not_the_hot_route(client):
    answer = await client.request("POST", "/v1/%63hat/completions", b"{}")
    assert answer.error()["code"] == "unknown_url"


async def test_a_long_path_is_not_repeated_whole(client):
    message = (await client.request("GET", "/" + "a" * 5_000)).error()["message"]
    assert message.count("a") < 150
    assert "…" in message


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("HEAD", "/v1/chat/completions", "POST"),
        ("DELETE", "/v1/models", "GET, HEAD"),
        ("GET", "/cold", "POST"),
    ],
)
async def test_a_wrong_method_is_405_and_names_the_right_ones(method, path, allow, client):
    answer = await client.request(method, path)
    assert answer.status == 405
    assert sorted((answer.header("allow") or "").split(", ")) == allow.split(", ")
    assert answer.header("x-request-id")
    assert answer.header("x-should-retry") == "false"
    if method != "HEAD":
        assert answer.error()["code"] == "method_not_allowed"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/cold"])
async def test_a_browsers_preflight_is_never_granted_where_no_page_may_call(path, client):
    asks = ("Origin: http://localhost:3000", "Access-Control-Request-Method: POST")
    answer = await client.request("OPTIONS", path, b"", *asks)
    assert answer.status == 405
    assert answer.error()["code"] == "method_not_allowed"
    assert not [name for name, _ in answer.headers if name.startswith("access-control-")]


async def test_head_is_answered_like_get_without_the_body(client):
    answer = await client.request("HEAD", "/healthz")
    assert answer.status == 200
    assert answer.header("content-length") == "15"
    assert (await client.request("GET", "/healthz")).json() == {"status": "ok"}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/cold"])
async def test_a_gateway_error_is_answered_as_it_says(path, door, client):
    door.raises = invalid_request("'n' must be a number.", param="n", code="invalid_type")
    answer = await client.request("POST", path, b"{}")
    assert answer.status == 400
    assert answer.error() == {
        "message": "'n' must be a number.",
        "type": "invalid_request_error",
        "param": "n",
        "code": "invalid_type",
    }
    door.raises = rate_limit_exceeded("Too many.", 2.5)
    answer = await client.request("POST", path, b"{}")
    assert answer.header("retry-after") == "3"
    assert door.crashes == []


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/cold"])
async def test_a_crash_is_a_500_that_tells_nothing_and_a_log_entry_that_tells_all(path, door, client):
    door.raises = crash = ZeroDivisionError("secret detail")
    answer = await client.request("POST", path, b"{}")
    assert answer.status == 500
    assert answer.error()["code"] == "internal_error"
    assert b"secret" not in answer.body
    assert door.crashes == [(answer.header("x-request-id"), crash)]
    door.raises = None
    assert (await client.request("POST", path, b"{}")).status == 200


async def test_a_crash_in_a_stream_ends_it_with_an_error_event(door, client):
    door.raises, door.before = ZeroDivisionError(), ["start"]
    answer = await client.request("POST", "/v1/chat/completions", b"{}")
    assert answer.status == 200
    assert answer.body.startswith(b'data: {"error":')
    assert b"internal_error" in answer.body
    assert await client.closed() == b""


async def test_a_crash_after_the_answer_is_only_logged(door, client):
    door.raises, door.before = ZeroDivisionError(), ["respond"]
    assert (await client.request("POST", "/v1/chat/completions", b"{}")).body == b"{}"
    assert (await client.request("GET", "/healthz")).status == 200
    assert len(door.crashes) == 1


async def test_an_ordinary_route_may_raise_starlettes_own_exceptions(door, client):
    door.raises = HTTPException(415, "JSON only.")
    answer = await client.request("POST", "/cold", b"{}")
    assert answer.status == 415
    assert answer.error()["message"] == "JSON only."


async def test_a_client_that_leaves_an_ordinary_route_is_not_a_crash(door, serve, connect):
    server = await serve(door.app)
    client = await connect(server)
    await client.send(b"POST /cold HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
    await until(lambda: server.requests == 1)
    await client.leave()
    await until(lambda: server.requests == 0)
    assert door.crashes == []


async def test_readiness_says_why_not(door, client):
    assert (await client.request("GET", "/readyz")).json() == {"status": "ok"}
    door.reasons = ["draining"]
    answer = await client.request("GET", "/readyz")
    assert answer.status == 503
    assert answer.json() == {"status": "unavailable", "reasons": ["draining"]}
    assert (await client.request("GET", "/healthz")).status == 200


async def test_models_are_listed_as_openai_does(client):
    answer = await client.request("GET", "/v1/models", b"", "Authorization: Bearer sk-alice")
    assert answer.json()["object"] == "list"
    assert [(model["id"], model["owned_by"]) for model in answer.json()["data"]] == [
        ("Qubico/flux1-dev", "black-forest-labs"),
        ("gpt-4o", "openai"),
    ]
    for model in answer.json()["data"]:
        assert list(model) == ["id", "object", "created", "owned_by"]
        assert model["object"] == "model"
        assert isinstance(model["created"], int)


async def test_a_key_sees_only_what_it_may_use(client):
    flux = "Authorization: Bearer sk-flux"
    models = (await client.request("GET", "/v1/models", b"", flux)).json()["data"]
    assert [model["id"] for model in models] == ["Qubico/flux1-dev"]
    assert (await client.request("GET", "/v1/models/gpt-4o", b"", flux)).error()["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("gpt-4o", "gpt-4o"),
        ("Qubico/flux1-dev", "Qubico/flux1-dev"),
        ("Qubico%2Fflux1-dev", "Qubico/flux1-dev"),
        ("gpt-4-gizmo-g-123", "gpt-4-gizmo-g-123"),
    ],
)
async def test_a_model_is_found_by_its_id_slashes_and_all(path, model, client):
    answer = await client.request("GET", f"/v1/models/{path}", b"", "X-API-Key: sk-alice")
    assert answer.status == 200
    assert answer.json()["id"] == model
    missing = await client.request("GET", f"/v1/models/{path}", b"")
    assert missing.status == 401
    assert missing.error()["code"] == "invalid_api_key"


async def test_an_unknown_model_is_404(client):
    answer = await client.request("GET", "/v1/models/gpt-9", b"", "X-API-Key: sk-alice")
    assert answer.status == 404
    assert answer.error()["code"] == "model_not_found"
    assert answer.error()["param"] == "model"
