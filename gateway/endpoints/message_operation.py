"""A request of Anthropic's Messages API as it is relayed to targets that have the API."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.headers import Headers
from gateway.core.types import NO_WISHES, Endpoint, Route, Target, Wish
from gateway.endpoints.relays import RelayOperation
from gateway.exchange.services import Services
from gateway.translate.commands import Conversation
from gateway.translate.messages_relay import MessagesRelay
from gateway.wire.relay_request import RelayRequest


@dataclass(slots=True)
class RelayedMessage(RelayOperation):
    """A request that is relayed. ``headers``: of the client's, which go with it."""

    headers: Headers = ()

    def converse_with(self, target: Target, endpoint: Endpoint, without: frozenset[Wish] = NO_WISHES) -> Conversation:
        context = self.context_of(target, endpoint)
        self.newest = MessagesRelay(self.request, context, count=self.count, headers=self.headers)
        return self.newest


def relayed_message(services: Services, asked: RelayRequest, route: Route, headers: Headers) -> RelayedMessage:
    """A request as an operation under the configuration in force."""
    return RelayedMessage(
        asked,
        services.tokenizer.count,
        services.clock,
        services.log.redactor.words,
        max_output=route.max_output,
        context=route.context,
        event_limit=services.snapshot.event_limit,
        headers=headers,
    )
