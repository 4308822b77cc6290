"""Which of a model's targets serve a kind of request, and what is said where none does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gateway.core.errors import ClientError
from gateway.core.pricing.price_lines import yaml_text
from gateway.core.types import PICTURES, Dialect, OperationName, Route

_CHAT: frozenset[OperationName] = frozenset({"chat"})
CHATS = _CHAT | PICTURES
"""What serves a chat: a model that only makes images does, too."""

MESSAGES = CHATS | frozenset[OperationName]({"messages"})
"""What serves a request of Anthropic's Messages API: what has that API, or is asked as a chat."""

PATHS: Mapping[OperationName, str] = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
    "embeddings": "/v1/embeddings",
    "completions": "/v1/completions",
    "moderations": "/v1/moderations",
    "speech": "/v1/audio/speech",
    "transcriptions": "/v1/audio/transcriptions",
    "translations": "/v1/audio/translations",
}
"""Operation → the route that asks for it."""


def asked_by(operation: OperationName, dialect: Dialect) -> OperationName | None:
    """The operation by which an upstream is asked for what is no target's of the catalogue; None if it has none.

    ``operation``: as it is asked for. Of Anthropic's dialect there is the Messages API alone, which serves no chat.
    """
    if dialect == "anthropic":
        return "messages" if operation in ("chat", "messages") else None
    return "chat" if operation == "messages" else operation


def serving(route: Route, operations: frozenset[OperationName], asked: OperationName, path: str = "") -> Route:
    """The route with only those targets that carry out one of ``operations``.

    Raises the 404 that names the line of configuration for ``asked``, if it has targets, but none of these. ``path``:
    what the client asked; empty for the route of ``asked`` itself.
    """
    if route.operations <= operations:
        return route
    targets = tuple(target for target in route.targets if target.operation in operations)
    if not targets:
        raise no_target(route.named, asked, known=True, path=path)
    return replace(route, targets=targets)


def no_target(model: str, operation: OperationName, *, known: bool, path: str = "") -> ClientError:
    """404 for a model without a target for this kind of request. ``known``: it has others. ``path``: as in serving."""
    what = f"{{upstream: backup{'' if operation in ('chat', 'messages') else f', operation: {operation}'}}}"
    beside = ", beside those it has" if known else ""
    return ClientError(
        404,
        "invalid_request_error",
        "model_not_found",
        f"The model '{model[:64]}' has no target for {path or PATHS[operation]}. "
        f"Whoever runs this gateway can give it one{beside}: "
        f"models: {{{yaml_text(model[:64])}: {{targets: [{what}]}}}} in the configuration.",
        param="model",
    )
