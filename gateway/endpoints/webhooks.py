"""``POST /webhooks/piapi/{token}``: PiAPI reports that a task has changed.

The token cannot be guessed and is valid while its task is waited for; the secret comes in a header of its own (PiAPI
signs nothing). The report's content is not trusted: it only brings the next poll forward.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Protocol

from gateway.core.errors import ClientError
from gateway.core.in_force import InForce
from gateway.server.body import read_body
from gateway.server.client import Client
from gateway.server.dispatch import OwnRoutes
from gateway.server.request import Request

MOST_WEBHOOK_BODY = 1 << 20
"""Bytes of a body: a task's description with images as base64 may be large. Nothing of it is kept, and it is read only
if the token and the secret are right."""


class WebhookSettings(Protocol):
    """``webhook_secret``: what PiAPI was told to send; empty while webhooks are off."""

    @property
    def webhook_secret(self) -> str: ...


def webhook_routes(
    in_force: InForce[WebhookSettings], waits: Callable[[str], bool], give: Callable[[str], bool]
) -> OwnRoutes:
    """The one route.

    ``waits``: whether a poll waits under a token.
    ``give``: passes the wakeup on; False if no poll waits any more.
    """

    async def task_changed(request: Request, client: Client) -> None:
        wanted = in_force.snapshot.webhook_secret.encode()
        sent = request.fields.get(b"x-webhook-secret", b"")
        known = hmac.compare_digest(sent, wanted) and bool(wanted)
        token = request.params["token"]
        if known and waits(token):
            await read_body(request, MOST_WEBHOOK_BODY, idle=5.0, total=10.0)
            known = give(token)
        else:
            known = False
        if not known:
            raise ClientError(404, "invalid_request_error", "unknown_url", "Nothing waits for this webhook.")
        await client.respond(200, (), b"{}")

    return {"/webhooks/piapi/{token}": {"POST": task_changed}}
