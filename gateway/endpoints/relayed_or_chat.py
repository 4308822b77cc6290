"""A request that some targets of its model get as it is, and others as a chat: one operation for both."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.core.routing.refused_wishes import OwnWishes
from gateway.core.types import NO_WISHES, Endpoint, Target, Wish
from gateway.endpoints.relays import RelayOperation
from gateway.endpoints.translated import TranslatedOperation
from gateway.translate.commands import Conversation


class RelayedOrChat:
    """What a client asked: ``relayed`` to the targets that have the route, else as a ``chat``.

    Until the first meaningful event nothing of an attempt is passed on, so the next one may be of the other kind.
    ``newest``: as which of them it was asked last.
    """

    bare = False

    def __init__(self, relayed: RelayOperation, chat: TranslatedOperation) -> None:
        self._relayed = relayed
        self._chat = chat
        self.newest: RelayOperation | TranslatedOperation = relayed
        self.route = relayed.route
        self.stream = relayed.stream
        self.supports = relayed.supports | chat.supports

    def _of(self, target: Target) -> RelayOperation | TranslatedOperation:
        return self._relayed if target.operation in self._relayed.supports else self._chat

    @property
    def notes(self) -> Sequence[str]:
        """What has no effect in a chat is said only of an answer that was asked for as one."""
        return self.newest.notes

    @property
    def prepares(self) -> bool:
        return self._chat.prepares

    async def prepare(self) -> None:
        await self._chat.prepare()

    @property
    def parts(self) -> tuple[RelayedOrChat]:
        return (self,)

    def converse_with(self, target: Target, endpoint: Endpoint, without: frozenset[Wish] = NO_WISHES) -> Conversation:
        self.newest = self._of(target)
        return self.newest.converse_with(target, endpoint, without)

    def conclude(self, conversations: Sequence[Conversation], charge: Callable[[], str | None]) -> bytes | None:
        return self.newest.conclude(conversations, charge)

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
