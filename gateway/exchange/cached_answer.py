"""A request that is answered from the cache: let in under its key's limits, written down, and charged nothing."""

from __future__ import annotations

from gateway.core.answer_cache import KeptAnswer
from gateway.core.errors import GatewayError
from gateway.core.headers import Headers
from gateway.core.limits.key_limits import Lease
from gateway.core.types import Route, VirtualKey
from gateway.exchange.accounting import Account
from gateway.exchange.client import Client
from gateway.exchange.limiting import admit, admit_elsewhere
from gateway.exchange.operation import Operation
from gateway.exchange.services import Services

CACHE_HEADER = b"x-gateway-cache"


class CachedAnswer:
    """What stands in for an exchange whose answer is there already: ``run`` it once."""

    def __init__(
        self,
        services: Services,
        operation: Operation,
        route: Route,
        key: VirtualKey,
        client: Client,
        answer: KeptAnswer,
    ) -> None:
        self._services = services
        self._path = operation.route
        self._model = route.model
        self._key = key
        self._client = client
        self._answer = answer
        self._account = Account(services, operation, route, key, client.request_id, client.trace)

    @property
    def refusal(self) -> GatewayError | None:
        """What it was refused with."""
        return self._account.refusal

    def shut_down(self) -> None:
        """Nothing of it takes long."""

    async def run(self) -> None:
        """Answer the client."""
        services, account, client = self._services, self._account, self._client
        services.metrics.enter(self._path)
        lease: Lease | None = None
        try:
            try:
                now = client.loop.time()
                lease = admit(services, self._key, 0, now)
                if lease is None:
                    lease = await admit_elsewhere(services, self, self._key, 0, now)
                services.gate.enter(self)
                await services.ledger.reserve(account.intent(services.clock.wall_ns()))
                account.reserved = True
            except GatewayError as error:
                account.settle(error.status, error)
                await client.error(error, self._headers())
                return
            account.from_cache()
            account.settle(200)
            services.metrics.cache_hit(self._key.name, self._key.team, self._model, self._answer.saved or 0)
            client.hold(stream=False, heartbeat=0.0, headers=self._headers)
            again: Headers = ((CACHE_HEADER, b"hit"), (b"x-gateway-cost-usd", b"0.00"))
            await client.complete(self._answer.body, again)
        finally:
            account.settle(500)
            if lease is not None:
                services.limits.release(lease, None, client.loop.time())
            services.gate.leave(self)
            services.metrics.leave(self._path)
            client.release()

    def _headers(self) -> Headers:
        limits = self._services.limits.headers(self._key, self._client.loop.time())
        return (*self._account.headers(), *limits)
