"""``GET /``, and ``/v1``: what this gateway is and which routes it has, for those who open its address.

No key is asked for: it tells nothing that the documentation does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def front_page_routes(version: str, listed: Callable[[], Sequence[str]]) -> list[Route]:
    """The one route.

    ``listed``: the routes of the listener, such as ``GET /v1/models``.
    """

    async def front_page(_: Request) -> Response:
        page = {"object": "gateway", "name": "piapi-gateway", "version": version, "routes": list(listed())}
        return Response(orjson.dumps(page), media_type="application/json")

    return [Route("/", front_page, methods=["GET"])]
