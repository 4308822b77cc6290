"""Virtual keys on the admin listener: list, create, show, change, rotate, revoke. A key itself is told once, to whoever
made it, and never again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.endpoints.body import read_body
from gateway.errors import GatewayFault, StoreError
from gateway.key_book import MOST_LISTED
from gateway.key_desk import KeyDesk
from gateway.key_fields import refuse_unknown
from gateway.wire.client_json import loads_object
from gateway.wire.field_checks import wrong_value

PATH = "/admin/v1/keys"

MOST_BYTES = 256 * 1024
"""Of a body: room for a thousand models' names."""

DEFAULT_LIMIT = 100

Handler = Callable[[Request], Awaitable[Response]]
Guard = Callable[[Handler], Handler]
Work = Callable[[Request], Awaitable[Any]]


def key_routes(desk: KeyDesk, guarded: Guard) -> list[Route]:
    """The routes; ``guarded`` puts each behind the admin key."""

    async def page(request: Request) -> Any:
        query = request.query_params
        refuse_unknown(query, ("limit", "after", "include_revoked"))
        return await desk.book.page(query.get("after", ""), _limit(query), _flag(query, "include_revoked"))

    async def create(request: Request) -> Any:
        return await desk.create(await _fields(request))

    async def show(request: Request) -> Any:
        return await desk.book.show(request.path_params["name"])

    async def change(request: Request) -> Any:
        return await desk.change(request.path_params["name"], await _fields(request))

    async def revoke(request: Request) -> Any:
        return await desk.revoke(request.path_params["name"])

    async def rotate(request: Request) -> Any:
        return await desk.rotate(request.path_params["name"], await _fields(request))

    works: dict[str, dict[str, Work]] = {
        PATH: {"GET": page, "POST": create},
        PATH + "/{name}": {"GET": show, "PATCH": change, "DELETE": revoke},
        PATH + "/{name}/rotate": {"POST": rotate},
    }
    return [Route(path, guarded(_answering(methods)), methods=list(methods)) for path, methods in works.items()]


def _answering(works: Mapping[str, Work]) -> Handler:
    """What the method's work returns, as JSON; a store that cannot be used is told as 503, with words on what to do."""

    async def handle(request: Request) -> Response:
        try:
            result = await works["GET" if request.method == "HEAD" else request.method](request)
        except StoreError as error:
            raise GatewayFault(503, "service_unavailable_error", "ledger_unavailable", str(error)) from None
        # Some answers hold a key: nobody on the way may keep them.
        return Response(orjson.dumps(result), media_type="application/json", headers={"cache-control": "no-store"})

    return handle


async def _fields(request: Request) -> dict[str, Any]:
    """The body's fields; no body has none."""
    body = await read_body(request.scope, request.receive, MOST_BYTES)
    return loads_object(body) if body.strip() else {}


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
