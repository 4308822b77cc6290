"""A response that some targets of its model relay and others are asked for by a chat: one operation for both."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.core.errors import GatewayError
from gateway.core.routing.refused_wishes import OwnWishes
from gateway.core.types import NO_WISHES, Endpoint, Target, Wish
from gateway.endpoints.relays import RelayOperation
from gateway.endpoints.responses.relay import last_event
from gateway.endpoints.translated import TranslatedOperation
from gateway.translate.commands import Conversation
from gateway.translate.relay import RelayConversation


class RelayedOrChat:
    """What a client asked: ``relayed`` to the targets that have the route, else as a ``chat``.

    Until the first meaningful event nothing of an attempt is passed on, so the next one may be of the other kind.
    """

    bare = False

    def __init__(self, relayed: RelayOperation, chat: TranslatedOperation) -> None:
        self._relayed = relayed
        self._chat = chat
        self._newest: RelayOperation | TranslatedOperation = relayed
        self.route = relayed.route
        self.stream = chat.stream
        self.supports = relayed.supports | chat.supports

    def _of(self, target: Target) -> RelayOperation | TranslatedOperation:
        return self._relayed if target.operation == "responses" else self._chat

    @property
    def notes(self) -> Sequence[str]:
        """What the chat leaves out is of no concern to who gets a relayed answer."""
        return self._newest.notes

    @property
    def prepares(self) -> bool:
        return self._chat.prepares

    async def prepare(self) -> None:
        await self._chat.prepare()

    @property
    def parts(self) -> tuple[RelayedOrChat]:
        return (self,)

    def converse_with(self, target: Target, endpoint: Endpoint, without: frozenset[Wish] = NO_WISHES) -> Conversation:
        self._newest = self._of(target)
        return self._newest.converse_with(target, endpoint, without)

    def conclude(self, conversations: Sequence[Conversation], charge: Callable[[], str | None]) -> bytes | None:
        is_relayed = isinstance(conversations[0], RelayConversation)
        return (self._relayed if is_relayed else self._chat).conclude(conversations, charge)

    def failed(self, error: GatewayError) -> bytes:
        """The last events of a stream that has begun, if only with comments."""
        newest = self._newest
        return last_event(newest, error) if isinstance(newest, RelayOperation) else newest.failed(error)

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
