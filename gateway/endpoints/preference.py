"""``x-gateway-prefer``: in which order a request wants its model's targets to be tried.

It chooses among the targets that are configured for the model, and nothing else; what is not healthy is passed over.
"""

from __future__ import annotations

from dataclasses import replace

from gateway.core.errors import invalid_request, shorten
from gateway.core.route_rules import PREFERENCES
from gateway.core.types import Route
from gateway.server.request import Request

PREFER = b"x-gateway-prefer"


def preferred(request: Request, route: Route) -> Route:
    """The route under the request's own preference, if it has one. Raises ClientError for one that there is not."""
    if PREFER not in request.fields:
        return route
    given = request.fields[PREFER].decode("latin-1").strip().lower()
    for prefer in PREFERENCES:
        if given == prefer:
            return replace(route, rules=replace(route.rules, prefer=prefer))
    known = ", ".join(PREFERENCES)
    raise invalid_request(
        f"'x-gateway-prefer: {shorten(given)}' is none of: {known}.", param=None, code="invalid_value"
    )
