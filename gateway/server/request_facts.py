"""What becomes known of a request while it is answered, for the line and the count that its end leaves.

It travels in the request's scope: handlers of Starlette's kind are given nothing else.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

from gateway.core.errors import GatewayError
from gateway.core.types import VirtualKey

STATUS_CLIENT_GONE = 499
"""What metrics and books call a request whose client left (nginx's number)."""

_PLACE = "piapi.facts"


@dataclass(slots=True)
class RequestFacts:
    """Everything is None, or False, until it is known.

    ``key``: the one it was made with. ``model``: as the client named it. ``upstream``: the one that was asked.
    ``error``: what it was refused with, where that is not raised. ``counted``: an exchange counts it, and logs it
    unless it refuses it.
    """

    key: VirtualKey | None = None
    model: str | None = None
    upstream: str | None = None
    error: GatewayError | None = None
    counted: bool = False


@dataclass(frozen=True, slots=True)
class EndedRequest:
    """A request that was answered, or whose client left.

    ``route``: the path of its route, parameters in braces; None if there is none.
    ``status``: what it was answered with; 499 if its client left before its request was complete.
    ``error``: what it was refused with; None if it was not.
    ``seconds``: since it came; None if it was refused before it had come whole.
    """

    scope: MutableMapping[str, Any]
    request_id: str
    route: str | None
    status: int
    facts: RequestFacts
    error: GatewayError | None = None
    seconds: float | None = None


def facts_of(scope: MutableMapping[str, Any]) -> RequestFacts:
    """The facts of the request that this scope is of; they are kept in it."""
    facts: RequestFacts | None = scope.get(_PLACE)
    if facts is None:
        facts = scope[_PLACE] = RequestFacts()
    return facts
