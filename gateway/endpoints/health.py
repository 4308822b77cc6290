"""``/healthz``: the process runs. ``/readyz``: it should be sent requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

PATHS = ("/healthz", "/readyz")
"""They answer requests without a Host too: load balancers' checks often have none."""

_UNCACHED = {"cache-control": "no-store"}


def health_routes(not_ready: Callable[[], Sequence[str]]) -> list[Route]:
    """The two routes. OPTIONS is answered as GET is: HAProxy's ``option httpchk /readyz`` asks so.

    ``not_ready``: the reasons against sending requests here, such as ``draining``.
    """

    async def healthz(_: Request) -> Response:
        return Response(b'{"status":"ok"}', 200, _UNCACHED, "application/json")

    async def readyz(_: Request) -> Response:
        reasons = list(not_ready())
        if not reasons:
            return Response(b'{"status":"ok"}', 200, _UNCACHED, "application/json")
        body = orjson.dumps({"status": "unavailable", "reasons": reasons})
        return Response(body, 503, _UNCACHED, "application/json")

    return [
        Route(path, handler, methods=["GET", "OPTIONS"]) for path, handler in zip(PATHS, (healthz, readyz), strict=True)
    ]
