"""The reader of a request's body: counts and times it while it arrives, and refuses it as early as possible."""

from __future__ import annotations

import asyncio

from starlette.types import Receive, Scope

from gateway.core.errors import ClientError, gateway_overloaded
from gateway.core.limits.body_memory import BodyBudget, BodyLease
from gateway.server.connection import connection_of
from gateway.server.headers import request_timeout, request_too_large

IDLE = 15.0
"""Seconds between two pieces of a body."""

TOTAL = 120.0
"""Seconds for a whole body."""

UNCOUNTED = 64 * 1024
"""Bytes of a body that are not counted in the budget: a connection buffers as much in any case."""


class SenderGone(Exception):
    """The client left before its request was complete, so there is no one to answer."""


async def read_body(
    scope: Scope,
    receive: Receive,
    limit: int,
    *,
    budget: BodyBudget | None = None,
    owner: str = "",
    idle: float = IDLE,
    total: float = TOTAL,
) -> bytes:
    """The whole body, at most ``limit`` bytes, with at most ``idle`` seconds between pieces and ``total`` in all.

    While it is incomplete, what has come of it counts against ``owner`` in ``budget``. Raise 413 ``request_too_large``
    (before reading, if the length is announced), 408 ``request_timeout``, 415 for a compressed body, 503
    ``gateway_overloaded`` if the budget has no room, SenderGone.
    """
    for name, value in scope["headers"]:
        if name == b"content-length":
            if int(value) > limit:
                raise request_too_large(limit)
        elif name == b"content-encoding" and value.lower() != b"identity":
            raise _compressed()
    if not connection_of(scope).request_complete:
        if budget is None:
            return await _read_slowly(receive, limit, idle, total, None)
        lease = budget.lease(owner)
        try:
            return await _read_slowly(receive, limit, idle, total, lease)
        finally:
            lease.release()
    message = await receive()  # all is here already: no timer is needed, and one piece is the whole
    if message["type"] != "http.request" or message["more_body"]:
        raise SenderGone
    body: bytes = message["body"]
    if len(body) > limit:
        raise request_too_large(limit)
    return body


async def _read_slowly(receive: Receive, limit: int, idle: float, total: float, lease: BodyLease | None) -> bytes:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + total
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(min(idle, total)) as timer:
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise SenderGone
                pieces.append(message["body"])
                size += len(pieces[-1])
                if size > limit:
                    raise request_too_large(limit)
                if lease is not None and size > UNCOUNTED and not lease.grow(size):
                    raise gateway_overloaded()
                if not message["more_body"]:
                    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
                timer.reschedule(min(loop.time() + idle, deadline))
    except TimeoutError:
        raise request_timeout("The request body") from None


def _compressed() -> ClientError:
    return ClientError(
        415,
        "invalid_request_error",
        "unsupported_content_encoding",
        "Compressed request bodies are not accepted: send the body without Content-Encoding.",
    )
