"""``GET /``, and ``/v1``: what this gateway is and which routes it has, for those who open its address.

No key is asked for: it tells nothing that the documentation does not.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from gateway.server.client import Client
from gateway.server.dispatch import OwnRoutes
from gateway.server.request import Request


def front_page_routes(version: str, listed: Sequence[str]) -> OwnRoutes:
    """The one route.

    ``listed``: the routes of the listener, such as ``GET /v1/models``; this one may be added to them later.
    """

    async def front_page(_: Request, client: Client) -> None:
        page = {"object": "gateway", "name": "piapi-gateway", "version": version, "routes": list(listed)}
        await client.respond(200, (), orjson.dumps(page))

    return {"/": {"GET": front_page}}
