"""``GET /``: what the gateway is and which routes it has."""

from __future__ import annotations

import json

from gateway.endpoints.front_page import front_page_routes

from .gateway import ask, handlers


async def test_it_names_the_gateway_its_version_and_its_routes() -> None:
    routes = ["GET /", "GET /v1/models"]
    found = front_page_routes("1.2.3", routes)
    assert list(found) == ["/"]
    assert json.loads((await ask(handlers(found)[0])).body) == {
        "object": "gateway",
        "name": "piapi-gateway",
        "version": "1.2.3",
        "routes": routes,
    }
