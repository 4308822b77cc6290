"""Asking an upstream of Anthropic's dialect how many tokens a request has, which costs nothing.

Nothing follows from it for routing, and no failure of it is a client's: what cannot be had is counted here.
"""

from __future__ import annotations

from functools import partial

from gateway.core.errors import UpstreamFault
from gateway.core.headers import Header, Headers
from gateway.core.types import Route, Target
from gateway.exchange.services import Services
from gateway.exchange.task_lookup import Reading
from gateway.translate.messages_relay import TokenCount
from gateway.wire.relay_request import RelayRequest

MOST_KEYS = 3
"""Keys of a pool that are tried where one after the other gives no answer."""


class CountedUpstream:
    """One question. ``name``: of the upstream that answered it; empty before."""

    def __init__(self, services: Services) -> None:
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
        for credential in target.upstream.credentials[:MOST_KEYS]:
            try:
                _, body = await self._reading.put(target, credential, partial(TokenCount, asked, headers))
            except UpstreamFault as trouble:
                if trouble.status in _OF_THE_REQUEST:
                    raise
                continue
            return body
        return None


_OF_THE_REQUEST = frozenset({400, 413, 422})
