"""``GET /v1/models`` and ``/v1/models/{id}``: the models a key may use, in OpenAI's shape."""

from __future__ import annotations

from collections.abc import Callable

import orjson

from gateway.core.routing.model_listing import ModelListing
from gateway.core.types import VirtualKey
from gateway.endpoints.auth import Authenticator
from gateway.server.client import Client
from gateway.server.dispatch import OwnRoutes
from gateway.server.request import Request

_NO_ATTEMPT = ((b"x-gateway-attempts", b"0"),)


def model_routes(
    authenticator: Authenticator,
    listing: Callable[[], ModelListing],
    requires_price: Callable[[VirtualKey], bool],
) -> OwnRoutes:
    """The two routes.

    ``listing``: returns what is offered at this moment.
    ``requires_price``: whether a key may use only what has a price.
    """

    async def list_models(request: Request, client: Client) -> None:
        key = authenticator.authenticate(request)
        shown = listing().shown(key.models, priced=requires_price(key))
        await client.respond(200, _NO_ATTEMPT, orjson.dumps({"object": "list", "data": shown}))

    async def retrieve_model(request: Request, client: Client) -> None:
        """A model that the key may not use is answered as one that does not exist."""
        key = authenticator.authenticate(request)
        name = request.params["model"]
        offered = listing()
        model = offered.one(name, key.models, priced=requires_price(key))
        if model is None:
            raise offered.missing(name, key.models)
        await client.respond(200, _NO_ATTEMPT, orjson.dumps(model))

    return {"/v1/models": {"GET": list_models}, "/v1/models/{model:path}": {"GET": retrieve_model}}
