"""``/healthz``: the process runs. ``/readyz``: it should be sent requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import orjson

from gateway.server.client import Client
from gateway.server.dispatch import OwnRoutes
from gateway.server.request import Request

PATHS = ("/healthz", "/readyz")
"""They answer requests without a Host too: load balancers' checks often have none."""

_UNCACHED = ((b"cache-control", b"no-store"),)


def health_routes(not_ready: Callable[[], Sequence[str]]) -> OwnRoutes:
    """The two routes. OPTIONS is answered as GET is: HAProxy's ``option httpchk /readyz`` asks so.

    ``not_ready``: the reasons against sending requests here, such as ``draining``.
    """

    async def healthz(_: Request, client: Client) -> None:
        await client.respond(200, _UNCACHED, b'{"status":"ok"}')

    async def readyz(request: Request, client: Client) -> None:
        reasons = list(not_ready())
        if not reasons:
            await healthz(request, client)
            return
        await client.respond(503, _UNCACHED, orjson.dumps({"status": "unavailable", "reasons": reasons}))

    return {path: {"GET": handler, "OPTIONS": handler} for path, handler in zip(PATHS, (healthz, readyz), strict=True)}
