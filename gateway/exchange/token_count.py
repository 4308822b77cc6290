"""Asking an upstream of Anthropic's dialect how many tokens a request has, which costs nothing.

Keys that rest are not asked with. Nothing follows from it for routing, and no failure of it is a client's: what cannot
be had is counted here.
"""

from __future__ import annotations

import asyncio
from functools import partial

from gateway.core.errors import UpstreamFault
from gateway.core.headers import Header, Headers
from gateway.core.types import Credential, Route, Target
from gateway.exchange.services import Services
from gateway.exchange.task_lookup import Reading
from gateway.translate.messages_relay import TokenCount
from gateway.wire.relay_request import RelayRequest

MOST_KEYS = 3
"""Keys of a pool that are tried where one after the other gives no answer."""

_OF_THE_REQUEST = frozenset({400, 413, 422})


class CountedUpstream:
    """One question of the virtual key ``asker``. ``name``: of the upstream that answered it; empty before."""

    def __init__(self, services: Services, asker: str) -> None:
        self._services = services
        self._asker = asker
        self._reading = Reading(services)
        self.name = ""

    @property
    def attempts_header(self) -> Header:
        return b"x-gateway-attempts", b"%d" % self._reading.attempts

    async def ask(self, route: Route, asked: RelayRequest, headers: Headers) -> bytes | None:
        """The JSON with the count; None if no upstream tells it.

        Raises UpstreamFault with an upstream's words where the request is at fault.
        """
        for target in route.targets:
            if target.operation == "messages" and (answer := await self._of(target, asked, headers)) is not None:
                self.name = target.upstream.name
                return answer
        return None

    async def _of(self, target: Target, asked: RelayRequest, headers: Headers) -> bytes | None:
        services = self._services
        state = services.snapshot.states.get(target.upstream.name)
        if state is None or not target.upstream.endpoints:
            return None
        pool = state.pool
        tried = pool.besides(target.upstream.credentials)
        for _ in range(MOST_KEYS):
            now = asyncio.get_running_loop().time()
            key = pool.take(target.model, now, services.randomness, tried, asker=self._asker)
            if not isinstance(key, Credential):
                return None
            tried.add(key.name)
            try:
                _, body = await self._reading.put(target, key, partial(TokenCount, asked, headers))
            except UpstreamFault as trouble:
                if trouble.status in _OF_THE_REQUEST:
                    raise
                continue
            finally:
                pool.release(key)
            return body
        return None
