"""The admin API's routes for virtual keys: list, create, show, change, rotate, revoke.

A key itself is shown once, in the answer that creates it, and never again.
"""

from __future__ import annotations

from typing import Any

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.routing import Route

from gateway.endpoints.admin.json_body import Guard, JsonHandler, answering, body_fields, who_asks
from gateway.endpoints.admin.paths import KEYS_PATH
from gateway.keys.fields import refuse_unknown
from gateway.keys.service import MOST_LISTED, KeyService
from gateway.wire.field_checks import wrong_value

DEFAULT_LIMIT = 100


def key_routes(service: KeyService, guarded: Guard) -> list[Route]:
    """The routes of virtual keys.

    ``guarded``: puts a handler behind the admin key.
    """

    async def page(request: Request) -> Any:
        query = request.query_params
        refuse_unknown(query, ("limit", "after", "include_revoked"))
        return await service.listing.page(query.get("after", ""), _limit(query), _flag(query, "include_revoked"))

    async def create(request: Request) -> Any:
        return await service.create(await body_fields(request), who_asks(request))

    async def show(request: Request) -> Any:
        return await service.listing.show(request.path_params["name"])

    async def change(request: Request) -> Any:
        return await service.change(request.path_params["name"], await body_fields(request), who_asks(request))

    async def revoke(request: Request) -> Any:
        return await service.revoke(request.path_params["name"], who_asks(request))

    async def rotate(request: Request) -> Any:
        return await service.rotate(request.path_params["name"], await body_fields(request), who_asks(request))

    works: dict[str, dict[str, JsonHandler]] = {
        KEYS_PATH: {"GET": page, "POST": create},
        KEYS_PATH + "/{name}": {"GET": show, "PATCH": change, "DELETE": revoke},
        KEYS_PATH + "/{name}/rotate": {"POST": rotate},
    }
    return [Route(path, guarded(answering(methods)), methods=list(methods)) for path, methods in works.items()]


def _limit(query: QueryParams) -> int:
    text = query.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= MOST_LISTED):
        raise wrong_value("limit", f"expected a whole number from 1 to {MOST_LISTED}")
    return int(text)


def _flag(query: QueryParams, name: str) -> bool:
    text = query.get(name, "false")
    if text not in ("true", "false"):
        raise wrong_value(name, "expected true or false")
    return text == "true"
