"""What every route that buys something asks first: who is it, and which model may it use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.types import Scope

from gateway.core.errors import model_not_allowed, model_not_found
from gateway.core.limits.key_limits import LimitRefusal
from gateway.core.types import Route, VirtualKey
from gateway.endpoints.auth import Authenticator
from gateway.exchange.services import Services

SOON = 0.25
"""Seconds within which a key is taken to be what it was: a revoked one must be refused within a second."""


class Admission:
    """``authenticator``: the one of the configuration now in force."""

    def __init__(self, services: Services, authenticator: Callable[[], Authenticator]) -> None:
        self.services = services
        self._authenticator = authenticator

    def authenticate(self, scope: Scope) -> VirtualKey:
        """Raises the one 401, or 429 for an address from which too many keys failed."""
        return self._authenticator().authenticate(scope)

    def still(self, scope: Scope, key: VirtualKey, began: float) -> VirtualKey:
        """The key once more, if reading the request took so long that it may have been revoked or changed meanwhile.

        ``began``: the loop's time when it was first looked at. Raises the one 401.
        """
        if asyncio.get_running_loop().time() - began < SOON:
            return key
        return self.authenticate(scope)

    @contextmanager
    def limited(self, key: VirtualKey) -> Iterator[None]:
        """One request of the key's, under its limits; exchanges see to that themselves. Raises LimitError."""
        limits, loop = self.services.limits, asyncio.get_running_loop()
        admission = limits.admit(key, 0, loop.time())
        if isinstance(admission, LimitRefusal):
            raise admission.error()
        try:
            yield
        finally:
            limits.release(admission, None, loop.time())

    def route(self, model: str, key: VirtualKey) -> Route:
        """Raises 404 for a model nobody knows, 403 for one this key may not use."""
        routes = self.services.snapshot.routes
        route = routes.find(model)
        if route is None:
            raise model_not_found(model)
        if not routes.allowed(key.models, model):
            raise model_not_allowed(model)
        return route


def is_sdk_retry(scope: Scope) -> bool:
    """Whether an OpenAI SDK says that it sends this request again (``x-stainless-retry-count`` ≥ 1)."""
    for name, value in scope["headers"]:
        if name == b"x-stainless-retry-count":
            return bool(value.isdigit() and value.strip(b"0"))  # a number however long, and not zero
    return False
