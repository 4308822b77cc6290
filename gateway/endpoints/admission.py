"""Admission: the questions every route that buys something asks first: which key is it, and may it use the model?"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.core.errors import model_not_allowed, model_not_found
from gateway.core.jobs.joining import Marks, checked_key
from gateway.core.limits.key_limits import LimitRefusal
from gateway.core.routing.endings import ended_error
from gateway.core.routing.route_operations import no_target, serving
from gateway.core.types import OperationName, Route, VirtualKey
from gateway.endpoints.auth import Authenticator
from gateway.exchange.services import Services
from gateway.server.request import Request

RECHECK_AFTER = 0.25
"""Seconds for which an authentication holds; a revoked key must be refused within a second."""


class Admission:
    """The checks of a request's key and model."""

    def __init__(self, services: Services, authenticator: Authenticator) -> None:
        self.services = services
        self._authenticator = authenticator

    def authenticate(self, request: Request) -> VirtualKey:
        """The virtual key of a request. Raises the one 401, or 429 for an address from which too many keys failed."""
        return self._authenticator.authenticate(request)

    def recheck(self, request: Request, key: VirtualKey) -> VirtualKey:
        """The key once more, if reading the request took so long that it may have been revoked or changed meanwhile.

        Raises the one 401.
        """
        if request.connection.loop.time() - request.began < RECHECK_AFTER:
            return key
        return self.authenticate(request)

    @asynccontextmanager
    async def limited(self, key: VirtualKey) -> AsyncIterator[None]:
        """Run one request of the key under its limits, inside the ``async with``; exchanges do so themselves. Raises
        LimitError.
        """
        limits, loop = self.services.limits, asyncio.get_running_loop()
        if (lease := limits.admit(key, 0, loop.time())) is None:
            lease = await limits.ask(key, 0, loop.time())
        if isinstance(lease, LimitRefusal):
            raise lease.error()
        try:
            yield
        finally:
            limits.release(lease, None, loop.time())

    def route(
        self,
        model: str,
        key: VirtualKey,
        *,
        unlisted: OperationName | None = None,
        operations: frozenset[OperationName] | None = None,
    ) -> Route:
        """The route of ``model``. Raises 404 for an unknown model, one that was shut down and one without a target that
        serves the request, 403 for one this key may not use.

        ``unlisted``: what a model that the catalogue does not name is asked for along the default route; None where
            only models of the catalogue are served.
        ``operations``: of the targets that serve the request; None for all.
        """
        routes = self.services.snapshot.routes
        route = routes.open_to(key.models, model)
        if route is None:
            route = routes.find(model)
            if route is None and unlisted is not None:
                route = routes.unlisted(model, unlisted)
            if route is None:
                raise model_not_found(model) if unlisted in (None, "chat") else no_target(model, unlisted, known=False)
            if not routes.may_use(key.models, model, route):
                raise model_not_allowed(model)
            if (ended := ended_error(route, model)) is not None:
                raise ended
        return route if operations is None else serving(route, operations, unlisted or "chat")


def marks_of(request: Request) -> Marks:
    """What says that a request may be a re-send of another. Raises ClientError 400 for an Idempotency-Key that is none.

    The key itself is kept nowhere.
    """
    given = checked_key(request.every(b"idempotency-key"))
    return Marks(is_sdk_retry(request), None if given is None else hashlib.sha256(given).digest())


def is_sdk_retry(request: Request) -> bool:
    """Whether an OpenAI SDK says that it sends this request again (``x-stainless-retry-count`` ≥ 1)."""
    count = request.fields.get(b"x-stainless-retry-count", b"0")
    return count != b"0" and count.isdigit() and bool(count.strip(b"0"))  # a number however long, and not zero
