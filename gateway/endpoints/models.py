"""``GET /v1/models`` and ``/v1/models/{id}``: the models a key may use, in OpenAI's shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as HttpRoute

from gateway.core.errors import model_not_found
from gateway.core.routing.endings import ended_error
from gateway.core.routing.route_table import RouteTable
from gateway.endpoints.auth import Authenticator

CREATED = 1_735_689_600
"""2025-01-01, for the creation time that OpenAI's clients expect and upstreams do not state."""


def model_routes(current: Callable[[], tuple[Authenticator, RouteTable]]) -> list[HttpRoute]:
    """The two routes.

    ``current``: the authenticator and the routes of the configuration in force.
    """

    async def list_models(request: Request) -> Response:
        authenticator, routes = current()
        key = authenticator.authenticate(request.scope)
        return _json({"object": "list", "data": [_model(name, routes) for name in routes.visible(key.models)]})

    async def retrieve_model(request: Request) -> Response:
        """A model that the key may not use is answered as one that does not exist."""
        authenticator, routes = current()
        key = authenticator.authenticate(request.scope)
        name: str = request.path_params["model"]
        route = None if name.endswith("*") else routes.find(name)
        if route is None or not routes.may_use(key.models, name, route):
            raise model_not_found(name)
        if not route.targets:
            raise ended_error(route, name) or model_not_found(name)
        return _json(_model(name, routes))

    return [
        HttpRoute("/v1/models", list_models, methods=["GET"]),
        HttpRoute("/v1/models/{model:path}", retrieve_model, methods=["GET"]),
    ]


def _model(name: str, routes: RouteTable) -> dict[str, Any]:
    """A model in OpenAI's shape; its owner is the upstream that is tried first."""
    route = routes.find(name)
    owner = route.targets[0].upstream.name if route is not None and route.targets else "gateway"
    return {"id": name, "object": "model", "created": CREATED, "owned_by": owner}


def _json(value: object) -> Response:
    return Response(orjson.dumps(value), headers={"x-gateway-attempts": "0"}, media_type="application/json")
