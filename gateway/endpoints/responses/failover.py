"""Which targets of a model relay a response, and which are asked for it by a chat, where the other kind fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from gateway.core.errors import ClientError, GatewayError
from gateway.core.types import Route
from gateway.endpoints.relayed_or_chat import RelayedOrChat
from gateway.endpoints.relays import RelayOperation
from gateway.endpoints.responses.relay import Relayed, last_event
from gateway.endpoints.translated import TranslatedOperation
from gateway.wire.responses.errors import ResponsesErrors

Chat = TypeVar("Chat")


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

    def last(error: GatewayError) -> bytes:
        asked = operation.newest if isinstance(operation, RelayedOrChat) else operation
        return last_event(asked, error) if isinstance(asked, RelayOperation) else asked.failed(error)

    return last
