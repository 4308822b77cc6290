"""Common parts of the admin API's routes: JSON in, JSON out, and the admin key in front."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from gateway.core.errors import GatewayFault, StoreError
from gateway.server.asgi import request_of
from gateway.server.body import read_body
from gateway.wire.client_json import loads_object
from gateway.wire.field_checks import wrong_value

MOST_ADMIN_BODY = 256 * 1024
"""Bytes of a body: enough for a thousand models' names."""

ADMIN_USER = "x-gateway-user"
"""The header in which the command line says which user of its machine asks."""

ADMITTED_AS = "gateway.admin"
"""Where the guard leaves, in the scope, under which name it let a request in."""

_USER = re.compile(r"[A-Za-z0-9._@+-]{1,64}")

Handler = Callable[[Request], Awaitable[Response]]
Guard = Callable[[Handler], Handler]
"""Puts a handler behind the admin key."""

JsonHandler = Callable[[Request], Awaitable[Any]]


def answering(works: Mapping[str, JsonHandler]) -> Handler:
    """A handler that answers with the result of the method's work as JSON; 503 with advice if the store cannot be used.

    ``works``: by method; HEAD is answered as GET is.
    """

    async def handle(request: Request) -> Response:
        try:
            result = await works["GET" if request.method == "HEAD" else request.method](request)
        except StoreError as error:
            raise GatewayFault(503, "service_unavailable_error", "ledger_unavailable", str(error)) from None
        # Some answers hold a key, which no cache on the way may keep.
        return Response(orjson.dumps(result), media_type="application/json", headers={"cache-control": "no-store"})

    return handle


def who_asks(request: Request) -> str:
    """Who asks, for the audit log: how the guard let it in, and the user that it says it is."""
    user = request.headers.get(ADMIN_USER, "")
    admitted: str = request.scope.get(ADMITTED_AS, "admin API")
    return f"{admitted}, user {user}" if _USER.fullmatch(user) else admitted


def page_limit(text: str | None, usual: int, most: int) -> int:
    """How many rows a page is asked for: ``usual`` unless said, ``most`` at most. Raises ClientError."""
    if text is None:
        return usual
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= number <= most:
        raise wrong_value("limit", f"expected a number from 1 to {most}")
    return number


async def body_fields(request: Request) -> dict[str, Any]:
    """The fields of the body; an empty body has none. Raises ClientError."""
    body = await read_body(request_of(request.scope), MOST_ADMIN_BODY)
    return loads_object(body) if body.strip() else {}
