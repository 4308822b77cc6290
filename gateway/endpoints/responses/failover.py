"""A response that some targets of its model relay and others are asked for by a chat: one operation for both."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from gateway.core.errors import ClientError, GatewayError
from gateway.core.routing.refused_wishes import OwnWishes
from gateway.core.types import NO_WISHES, Endpoint, Route, Target, Wish
from gateway.endpoints.relays import RelayOperation
from gateway.endpoints.responses.relay import Relayed, last_event
from gateway.endpoints.translated import TranslatedOperation
from gateway.translate.commands import Conversation
from gateway.translate.relay import RelayConversation
from gateway.wire.responses.errors import ResponsesErrors

Chat = TypeVar("Chat")


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


async def beside(
    relayed: Relayed | None, form: ResponsesErrors, as_chat: Callable[[], Awaitable[Chat]], *, waited_for: bool = True
) -> Chat | None:
    """The request as a chat, which may be asked of the targets that do not relay it; None if none of them can be.

    ``form``: is told why not. ``waited_for``: whether the client waits for the answer.
    Raises ClientError for what no chat can have, if it cannot be relayed either.
    """
    if relayed is None:
        return await as_chat()
    if relayed.pin is not None:
        form.left_out = f"What it goes on from is kept by '{relayed.pin[0]}' alone, so no other target was asked."
    elif relayed.others and not waited_for:
        form.left_out = "The model's other targets were not asked: 'background' is the upstream's own."
    elif relayed.others:
        try:
            return await as_chat()
        except ClientError as error:
            place = "" if error.param is None else f"{error.param}: "
            form.left_out = f"The other targets are asked by a chat, which this cannot be: {place}{error.message}"
    return None


def together(
    relayed: Relayed | None, chat: tuple[TranslatedOperation, Route] | None
) -> tuple[RelayOperation | RelayedOrChat | TranslatedOperation, Route]:
    """The operation, and its targets: first those that have the route."""
    if relayed is None:
        assert chat is not None
        return chat
    if chat is None:
        return relayed.operation, relayed.route
    operation, route = chat
    targets = (*relayed.route.targets, *route.targets)
    return RelayedOrChat(relayed.operation, operation), replace(route, targets=targets)


def last_events(operation: RelayOperation | RelayedOrChat | TranslatedOperation) -> Callable[[GatewayError], bytes]:
    """What writes the last events of a stream that broke off."""
    if isinstance(operation, RelayOperation):
        return partial(last_event, operation)
    return operation.failed
