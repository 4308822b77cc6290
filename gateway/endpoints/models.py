"""``GET /v1/models`` and ``/v1/models/{id}``: the models a key may use, in OpenAI's shape.

A client that names a version of Anthropic's API, as its SDKs and Claude Code do, is answered in that API's shape.
"""

from __future__ import annotations

from collections.abc import Callable

import orjson

from gateway.core.routing.model_listing import ModelListing
from gateway.core.types import VirtualKey
from gateway.endpoints.auth import Authenticator
from gateway.server.client import Client
from gateway.server.dispatch import OwnRoutes
from gateway.server.query import query_of
from gateway.server.request import Request
from gateway.wire.messages.errors import ANTHROPIC_ERRORS
from gateway.wire.messages.model_list import claude_model, claude_page

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
        claude = _is_claudes(request, client)
        key = authenticator.authenticate(request)
        shown = listing().shown(key.models, priced=requires_price(key))
        page = claude_page(shown, query_of(request)) if claude else {"object": "list", "data": shown}
        await client.respond(200, _NO_ATTEMPT, orjson.dumps(page))

    async def retrieve_model(request: Request, client: Client) -> None:
        """A model that the key may not use is answered as one that does not exist."""
        claude = _is_claudes(request, client)
        key = authenticator.authenticate(request)
        name = request.params["model"]
        offered = listing()
        model = offered.one(name, key.models, priced=requires_price(key))
        if model is None:
            raise offered.missing(name, key.models)
        await client.respond(200, _NO_ATTEMPT, orjson.dumps(claude_model(model) if claude else model))

    return {"/v1/models": {"GET": list_models}, "/v1/models/{model:path}": {"GET": retrieve_model}}


def _is_claudes(request: Request, client: Client) -> bool:
    """Whether the client speaks Anthropic's API; then it is told of errors in that API's form, too."""
    claude = b"anthropic-version" in request.fields
    if claude:
        client.error_form = ANTHROPIC_ERRORS
    return claude
