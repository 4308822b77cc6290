"""What a conversation asks an upstream for beyond its client's request, and how it asks without."""

from __future__ import annotations

from gateway.core.types import NO_WISHES, Wish
from gateway.translate.commands import Send
from gateway.wire.chat_request import ChatRequest

_WISHES = {
    (True, True): NO_WISHES,
    (True, False): frozenset({Wish.STREAM_OPTIONS}),
    (False, True): frozenset({Wish.STREAM}),
    (False, False): frozenset({Wish.STREAM, Wish.STREAM_OPTIONS}),
}
"""By whether the client asked for a stream, and for usage in it."""

ACCEPT_JSON = (b"accept", b"application/json")


def chat_wishes(request: ChatRequest) -> frozenset[Wish]:
    """What a chat upstream is asked for although the client did not."""
    return _WISHES[request.stream, request.include_usage]


def wishes_left(wishes: frozenset[Wish], without: frozenset[Wish]) -> frozenset[Wish]:
    """The wishes that may still be made: none at all where the stream, to which the others belong, is given up."""
    if not without:
        return wishes
    return NO_WISHES if Wish.STREAM in wishes & without else wishes - without


def sending(path: str, body: bytes, *, streamed: bool) -> Send:
    """The command that sends a JSON order, whose answer is ``streamed`` or comes whole after a long silence."""
    if streamed:
        return Send("POST", path, body)
    return Send("POST", path, body, headers=(ACCEPT_JSON,), whole=True)
