"""What a route needs of a gateway: keys known by their names, an admission; and requests without a socket."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.core.errors import invalid_api_key
from gateway.core.types import VirtualKey
from gateway.endpoints.admission import Admission
from gateway.server.dispatch import OwnRoutes, RouteHandler
from gateway.server.request import Request
from tests.exchange.stage import Stage
from tests.heads import client_of, request_of


class Keys:
    """An authenticator whose keys are their own names. ``asked``: how often it was asked."""

    def __init__(self, *keys: VirtualKey) -> None:
        self.keys = {key.name: key for key in keys}
        self.asked = 0

    def authenticate(self, request: Request) -> VirtualKey:
        self.asked += 1
        name = request.fields.get(b"authorization", b"").decode()
        if name not in self.keys:
            raise invalid_api_key()
        return self.keys[name]


def admission(stage: Stage, keys: Keys | None = None) -> tuple[Admission, Keys]:
    """The admission of a stage's gateway, and the keys it knows: the stage's own if none are given."""
    keys = keys or Keys(stage.key)
    return Admission(stage.services, keys), keys  # type: ignore[arg-type]


def sent(name: str = "alice", headers: Iterable[tuple[bytes, bytes]] = (), body: bytes = b"", **params: str) -> Request:
    """A request that has come whole. ``name``: of the key it sends. ``params``: parameters of its path."""
    return request_of([(b"authorization", name.encode()), *headers], body=body, params=params)


def handlers(routes: OwnRoutes) -> list[RouteHandler]:
    """What answers each of the routes, by its first method."""
    return [next(iter(methods.values())) for methods in routes.values()]


class Answer:
    """What was written, taken apart."""

    def __init__(self, written: bytes) -> None:
        head, _, self.body = written.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        self.status_code = int(status.split(" ")[1])
        self.headers = dict(line.split(": ", 1) for line in lines)


async def ask(handler: RouteHandler, request: Request | None = None) -> Answer:
    """What the route answers. What it refuses is raised, as GatewayError, for the dispatcher to write."""
    request = request or sent()
    await handler(request, client_of(request))
    return Answer(request.connection.written)  # type: ignore[attr-defined]
