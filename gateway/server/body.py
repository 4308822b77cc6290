"""The reader of a request's body: counts, times and inflates it as it arrives, and refuses it as early as possible."""

from __future__ import annotations

import asyncio
from io import BytesIO

from gateway.core.errors import ClientError, gateway_overloaded, invalid_request, shorten
from gateway.core.limits.body_memory import BodyBudget, BodyLease
from gateway.server.headers import request_timeout, request_too_large
from gateway.server.request import Request
from gateway.wire.content_coding import PIECE, BrokenCoding, UnknownCoding, codings, undone

IDLE = 15.0
"""Seconds between two pieces of a body."""

TOTAL = 120.0
"""Seconds for a whole body."""

UNCOUNTED = 64 * 1024
"""Bytes of a body that are not counted in the budget: a connection buffers as much in any case."""


INFLATED_AT_ONCE = 16 * 1024
"""Bytes of a compressed body up to which inflating begins on the loop; what is more, or grows, is inflated in a thread.
"""


async def read_body(
    request: Request,
    limit: int,
    *,
    budget: BodyBudget | None = None,
    owner: str = "",
    idle: float = IDLE,
    total: float = TOTAL,
) -> bytes:
    """The whole body, at most ``limit`` bytes, with at most ``idle`` seconds between pieces and ``total`` in all. One
    that was compressed is inflated.

    While it is incomplete or inflated, what there is of it counts against ``owner`` in ``budget``. Raise 413
    ``request_too_large`` (before reading, if the length is announced), 408 ``request_timeout``, 415 for a coding that
    is not read here and 400 for one that is broken, 503 ``gateway_overloaded`` if the budget has no room, SenderGone.
    """
    fields = request.fields
    encoded = b"content-encoding" in fields
    if request.complete and not encoded:  # it is all here already: no timer is needed, and one piece is the whole
        body = request.take()
        if len(body) > limit:
            raise request_too_large(limit)
        return body
    if int(fields.get(b"content-length", 0)) > limit:
        raise request_too_large(limit)
    applied = _codings(request) if encoded else ()
    lease = budget.lease(owner) if budget is not None else None
    try:
        body = await _read_slowly(request, limit, idle, total, lease)
        for coding in reversed(applied):
            body = await _inflate(body, coding, limit, lease)
        return body
    finally:
        if lease is not None:
            lease.release()


async def _read_slowly(request: Request, limit: int, idle: float, total: float, lease: BodyLease | None) -> bytes:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + total
    whole = BytesIO()  # gives its bytes away without copying them; to join pieces of 50 MB takes 30 ms
    size = 0
    try:
        async with asyncio.timeout(min(idle, total)) as timer:
            while True:
                size += whole.write(await request.receive())
                if size > limit:
                    raise request_too_large(limit)
                if lease is not None and size > UNCOUNTED and not lease.grow(size):
                    raise gateway_overloaded()
                if request.complete:
                    return whole.getvalue()
                timer.reschedule(min(loop.time() + idle, deadline))
    except TimeoutError:
        raise request_timeout("The request body") from None


def _codings(request: Request) -> tuple[str, ...]:
    try:
        return codings([value.decode("latin-1") for value in request.every(b"content-encoding")])
    except UnknownCoding as unknown:
        raise ClientError(
            415,
            "invalid_request_error",
            "unsupported_content_encoding",
            f"A request body may be compressed with gzip or deflate, or not at all; its Content-Encoding is "
            f"'{shorten(str(unknown))}'.",
        ) from None


async def _inflate(data: bytes, coding: str, limit: int, lease: BodyLease | None) -> bytes:
    """Undo one coding, in steps that end as soon as there is too much of it."""
    pieces: list[bytes] = []
    size = 0
    steps = undone(data, coding)
    at_once = len(data) <= INFLATED_AT_ONCE
    try:
        while (piece := next(steps, None) if at_once else await asyncio.to_thread(next, steps, None)) is not None:
            at_once = at_once and len(piece) < PIECE
            size += len(piece)
            if size > limit:
                raise request_too_large(limit)
            if lease is not None and size > UNCOUNTED and not lease.grow(len(data) + size):
                raise gateway_overloaded()
            pieces.append(piece)
    except BrokenCoding as broken:
        raise invalid_request(
            f"The request body cannot be read as {coding}: {broken}.", code="invalid_content_encoding"
        ) from None
    return b"".join(pieces)
