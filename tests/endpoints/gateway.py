"""What a route needs of a gateway: keys known by their names, an admission; and requests without a socket."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as HttpRoute
from starlette.types import Receive

from gateway.core.errors import invalid_api_key
from gateway.core.types import VirtualKey
from gateway.endpoints.admission import Admission
from gateway.server.connection import EXTENSION
from tests.exchange.stage import Stage


class Keys:
    """An authenticator whose keys are their own names. ``asked``: how often it was asked."""

    def __init__(self, *keys: VirtualKey) -> None:
        self.keys = {key.name: key for key in keys}
        self.asked = 0

    def authenticate(self, scope: Any) -> VirtualKey:
        self.asked += 1
        name = dict(scope["headers"]).get(b"authorization", b"").decode()
        if name not in self.keys:
            raise invalid_api_key()
        return self.keys[name]


def admission(stage: Stage, keys: Keys | None = None) -> tuple[Admission, Keys]:
    """The admission of a stage's gateway, and the keys it knows: the stage's own if none are given."""
    keys = keys or Keys(stage.key)
    return Admission(stage.services, lambda: keys), keys  # type: ignore[arg-type,return-value]


def scope(name: str = "alice", headers: Iterable[tuple[bytes, bytes]] = (), **path: str) -> dict[str, Any]:
    """A request's head. ``name``: of the key it sends. ``path``: parameters of its path."""
    return {
        "type": "http",
        "method": "GET",
        "path": "/",
        "headers": [(b"authorization", name.encode()), *headers],
        "path_params": path,
        "query_string": b"",
        "extensions": {EXTENSION: Whole()},
    }


class Whole:
    """A connection on which the whole request has arrived."""

    request_complete = True


def sending(body: bytes) -> Receive:
    """What a server gives an application to read the body with."""

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def ask(route: HttpRoute, head: dict[str, Any] | None = None, body: bytes = b"") -> Response:
    """What the route answers. What it refuses is raised, as GatewayError, for the dispatcher to write."""
    answer = await route.endpoint(Request(head or scope(), sending(body)))
    assert isinstance(answer, Response)
    return answer
