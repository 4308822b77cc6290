"""A request of Anthropic's Messages API as the exchange runs it: relayed to targets that have the API, asked as a chat
of all others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.core.headers import Headers
from gateway.core.routing.refused_wishes import OwnWishes
from gateway.core.types import NO_WISHES, Endpoint, Route, Target, Wish
from gateway.endpoints.relays import RelayOperation
from gateway.endpoints.translated import TranslatedOperation
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


class MessageOperation:
    """A request that some targets get as it is and others as a chat. ``relayed``, ``translated``: it as either."""

    bare = False

    def __init__(self, relayed: RelayedMessage, translated: TranslatedOperation) -> None:
        self._relayed = relayed
        self._translated = translated
        self._newest: RelayedMessage | TranslatedOperation = relayed
        self.route = relayed.route
        self.stream = relayed.stream
        self.supports = relayed.supports | translated.supports

    def _of(self, target: Target) -> RelayedMessage | TranslatedOperation:
        return self._relayed if target.operation in self._relayed.supports else self._translated

    def converse_with(self, target: Target, endpoint: Endpoint, without: frozenset[Wish] = NO_WISHES) -> Conversation:
        self._newest = self._of(target)
        return self._newest.converse_with(target, endpoint, without)

    def conclude(self, conversations: Sequence[Conversation], charge: Callable[[], str | None]) -> bytes | None:
        return self._newest.conclude(conversations, charge)

    @property
    def notes(self) -> Sequence[str]:
        """What has no effect in a chat is said only of an answer that was asked for as one."""
        return self._newest.notes

    @property
    def prepares(self) -> bool:
        return self._translated.prepares

    async def prepare(self) -> None:
        await self._translated.prepare()

    @property
    def parts(self) -> tuple[MessageOperation]:
        return (self,)

    def wishes(self, target: Target) -> OwnWishes:
        return self._of(target).wishes(target)

    def stake(self, target: Target) -> int | None:
        return self._of(target).stake(target)

    def cost_bound(self, target: Target, *, exact: bool) -> int | None:
        return self._of(target).cost_bound(target, exact=exact)

    def cost_reason(self, target: Target) -> str:
        return self._of(target).cost_reason(target)

    def rough_input_tokens(self) -> int:
        return self._relayed.rough_input_tokens()
