"""PiAPI says that a task has changed: ``POST /webhooks/piapi/{token}``.

The token is unguessable and lives as long as its task is waited for; the secret comes in a header of its own (PiAPI
signs nothing). What the message says is not believed: it only makes the next poll come at once.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.core.errors import ClientError
from gateway.server.body import read_body

MOST_BYTES = 1 << 20
"""A task's description with images as base64 may be large; nothing of it is kept, and it is read only for who knows
the token and the secret."""


def webhook_routes(secret: Callable[[], str], waits: Callable[[str], bool], give: Callable[[str], bool]) -> list[Route]:
    """``secret``: what PiAPI was told to send, empty while webhooks are off. ``waits``: whether anybody waits under a
    token. ``give``: passes the wakeup on; False once nobody waits.
    """

    async def task_changed(request: Request) -> Response:
        wanted = secret().encode()
        sent = request.headers.get("x-webhook-secret", "").encode()
        known = hmac.compare_digest(sent, wanted) and bool(wanted)
        token = request.path_params["token"]
        if known and waits(token):
            await read_body(request.scope, request.receive, MOST_BYTES, idle=5.0, total=10.0)
            known = give(token)
        else:
            known = False
        if not known:
            raise ClientError(404, "invalid_request_error", "unknown_url", "Nothing waits for this webhook.")
        return Response(b"{}", media_type="application/json")

    return [Route("/webhooks/piapi/{token}", task_changed, methods=["POST"])]
