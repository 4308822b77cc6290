"""``GET /v1/models`` and ``/v1/models/{id}``: the models a key may use, in OpenAI's shape."""

from __future__ import annotations

from collections.abc import Callable

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as HttpRoute

from gateway.core.routing.model_listing import ModelListing
from gateway.core.types import VirtualKey
from gateway.endpoints.auth import Authenticator


def model_routes(
    authenticator: Callable[[], Authenticator],
    listing: Callable[[], ModelListing],
    requires_price: Callable[[VirtualKey], bool],
) -> list[HttpRoute]:
    """The two routes.

    ``authenticator``: returns the one of the configuration in force.
    ``listing``: returns what is offered at this moment.
    ``requires_price``: whether a key may use only what has a price.
    """

    async def list_models(request: Request) -> Response:
        key = authenticator().authenticate(request.scope)
        return _json({"object": "list", "data": listing().shown(key.models, priced=requires_price(key))})

    async def retrieve_model(request: Request) -> Response:
        """A model that the key may not use is answered as one that does not exist."""
        key = authenticator().authenticate(request.scope)
        name: str = request.path_params["model"]
        offered = listing()
        model = offered.one(name, key.models, priced=requires_price(key))
        if model is None:
            raise offered.missing(name, key.models)
        return _json(model)

    return [
        HttpRoute("/v1/models", list_models, methods=["GET"]),
        HttpRoute("/v1/models/{model:path}", retrieve_model, methods=["GET"]),
    ]


def _json(value: object) -> Response:
    return Response(orjson.dumps(value), headers={"x-gateway-attempts": "0"}, media_type="application/json")
