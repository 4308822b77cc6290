"""A question to an upstream that costs nothing, such as for an account or a list of models; and its answer, bounded.

Such a question is beside the requests of clients: no failover, no health, no metrics of attempts follow from it.
Redirects are not followed, since the key goes with the question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.core.headers import Headers
from gateway.core.types import Endpoint
from gateway.upstream.pool import ConnectionPool

CONNECT_TIMEOUT = 5.0
"""Seconds, for each host."""


@dataclass(frozen=True, slots=True)
class FreeAnswer:
    """An answer.

    ``body``: of a 200; None for every other status, and for one that is too big.
    """

    status: int
    body: bytes | None = field(repr=False)


async def read_free(
    pool: ConnectionPool, endpoint: Endpoint, path: str, key: Headers, limit: int, asker: bytes = b""
) -> FreeAnswer:
    """``GET path`` of one host. ``key``: the headers with the upstream's key; ``limit``: bytes of an answer; ``asker``:
    the user-agent, none if it is empty.

    Raises TransportError, and ValueError for a key that no header can hold.
    """
    headers: Sequence[tuple[bytes, bytes]] = (
        *key,
        (b"accept", b"application/json"),
        (b"accept-encoding", b"identity"),  # a compressed answer could grow without bound
        *(((b"user-agent", asker),) if asker else ()),
    )
    response = await pool.request(endpoint, "GET", path, headers, b"", connect_timeout=CONNECT_TIMEOUT, fresh=True)
    try:
        if response.status != 200:
            return FreeAnswer(response.status, None)
        body = bytearray()
        while data := await response.receive():
            body += data
            if len(body) > limit:
                return FreeAnswer(response.status, None)
        return FreeAnswer(response.status, bytes(body))
    finally:
        response.close()
