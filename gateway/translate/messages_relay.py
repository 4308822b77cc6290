"""``POST /v1/messages`` relayed to an upstream that has Anthropic's Messages API: no byte of the answer is changed.

A stream is the upstream's, its pings too, from the first event that says something. What it tells of its use stands in
several events. Its end is ``message_stop``; an upstream that leaves that out after the reason for which the message
ended is believed, and the event is added.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.core.billing_terms import Terms
from gateway.core.headers import Headers
from gateway.core.types import NO_WISHES, Outcome, Phase, Usage
from gateway.translate.chat_errors import judge_answer
from gateway.translate.commands import ConversationState, Conversing, Emit, Head, Respond, Send, receive_body
from gateway.translate.context import AttemptContext
from gateway.translate.relay import RelayConversation
from gateway.translate.relay_stream import RelayStream
from gateway.translate.whole_answers import CHAT_ERROR_LIMIT
from gateway.wire.asked_work import as_asked
from gateway.wire.known_chat import brings_more
from gateway.wire.messages.counting import count_message
from gateway.wire.messages.relayed import (
    MESSAGE_STOP,
    MESSAGES,
    as_chat_counts,
    merged_usage,
    most_written,
    usage_in,
    usage_stated,
    words_of_message,
)
from gateway.wire.messages.request import COUNT_PATH
from gateway.wire.messages.retold import message_as_events
from gateway.wire.most_input import UNKNOWN_WINDOW, most_input
from gateway.wire.relay_request import RelayRequest, upstream_document
from gateway.wire.relay_routes import AnswerForm
from gateway.wire.sse import Event
from gateway.wire.usage_reading import tier_in

KEY_HEADER = b"x-api-key"
_ANY = (b"accept", b"*/*")

MOST_HELD = 64
"""Pings before the first word that are kept for the client; of more than these it has no need."""

COUNTED_WITHIN = 10.0
"""Seconds that one host has to count tokens."""

_HIDDEN_INPUT = 30_000
_AROUND_OUTPUT = 1_000
_TURNS = 10
"""Tokens that a provider may add to a request and to an answer, and how often it may run tools of its own for one."""


class MessageStream(RelayStream):
    """A message's stream. ``usage`` is known once the message has ended; ``stated`` is what was said of it so far."""

    __slots__ = ("_pings", "stated", "stopped")

    def __init__(self, context: AttemptContext) -> None:
        super().__init__(MESSAGES, context, NO_WISHES)
        self._pings = 0
        self.stated: dict[str, Any] = {}
        self.stopped = False

    def _pass_on(self, event: Event, document: dict[str, Any]) -> Outcome | None:
        trouble = super()._pass_on(event, document)
        if trouble is None and (said := usage_stated(document)) is not None:
            self.stated = merged_usage(self.stated, said)
            if document.get("type") == "message_delta":
                self.usage = usage_in(self.stated)
        if document.get("type") == "message_stop":
            self.stopped = self._done = True
        return trouble

    def _out_of_life(self, event: Event | None = None) -> None:
        """A ping goes on as it came: it is an event of this API."""
        if event is None:
            super()._out_of_life()
        elif self.answered or self._pings < MOST_HELD:
            self._pings += 1
            self.out.append(event.raw)

    def terminator(self) -> list[bytes]:
        return [] if self.stopped else [MESSAGE_STOP]


class MessagesRelay(RelayConversation):
    """One attempt at a relayed message. ``headers``: of the client's, which go to the upstream."""

    def __init__(
        self, request: RelayRequest, context: AttemptContext, *, count: Callable[[str], int], headers: Headers
    ) -> None:
        super().__init__(request, context, count=count, boundary="")
        self._own_headers = headers
        self._stream: MessageStream = MessageStream(context)

    @property
    def terms(self) -> Terms:
        told = self._document or self._stream.first
        if isinstance(of_events := told.get("message"), dict):
            told = {**of_events, "usage": self._stream.stated}
        model = told.get("model")
        return Terms(tier=tier_in(told), model=model if isinstance(model, str) else None)

    @property
    def message_id(self) -> str:
        """The id of the message, as the client was told it; empty before."""
        told = self._document or self._stream.first.get("message")
        id = told.get("id") if isinstance(told, dict) else None
        return id if isinstance(id, str) else ""

    @property
    def holds_thread(self) -> bool:
        """Whether the upstream was asked to hold the conversation."""
        return bool(self._request.fields.get("thread"))

    def estimate(self) -> Usage:
        """What the request probably took so far: of the input what a stream said at its begin, else a count."""
        fields, stream = self._request.fields, self._stream
        written = self._count(words_of_message(self._document)) if self._document else stream.text.tokens(self._count)
        stated = usage_in({**stream.stated, "output_tokens": written}) if stream.stated else None
        if stated is not None and self._believed(stated, stream.received) is not None:
            stated.confidence = "estimated"
            return stated
        return Usage(count_message(fields, self._count), 0, written, confidence="estimated")

    def _taken(self, document: dict[str, Any], body: bytes) -> Conversing:
        if not isinstance(document.get("content"), list):
            return Outcome("bad_json", Phase.UNKNOWN, 200, detail="no message: it has no list of content")
        outcome = yield from super()._taken(document, body)
        if outcome.ok and self._request.answered is AnswerForm.EVENTS:  # of an upstream that does not stream
            self._body = None
            yield Emit(message_as_events(document))
        return outcome

    def _order(self) -> Send:
        request, target = self._request, self._context.target
        body = upstream_document(request, target.model, target.upstream.pass_fields, ask_usage=False)
        streamed = request.answered is AnswerForm.EVENTS
        headers = self._own_headers if streamed else (*self._own_headers, _ANY)
        return Send("POST", MESSAGES.path, body, headers=tuple(headers), key_header=KEY_HEADER, whole=not streamed)

    def _believed(self, usage: Usage | None, received: int) -> Usage | None:
        """``usage`` if the bytes on the wire, and what was asked for, allow it."""
        if usage is None:
            return None
        request, model = self._request, self._context.target.model
        view = None
        if usage.input_tokens > request.size + _HIDDEN_INPUT:
            view = as_chat_counts(request.fields)
            bound = most_input(view, model, self._context.context, request.size) + _HIDDEN_INPUT
            if usage.input_tokens > (UNKNOWN_WINDOW * _TURNS if brings_more(view, model) else bound):
                return None
        bound = (most_written(request.fields) or 0) + _AROUND_OUTPUT
        if usage.output_tokens > received + bound:
            view = as_chat_counts(request.fields) if view is None else view
            if not brings_more(view, model) or usage.output_tokens > received + _TURNS * bound:
                return None
        told = self._document.get("usage") or self._stream.stated
        if usage.cache_write_tokens and not (isinstance(told, dict) and told.get("cache_creation")):
            return as_asked(usage, as_chat_counts(request.fields), model)
        return usage


class TokenCount(ConversationState):
    """One attempt at having an upstream count the tokens of a request, which costs nothing.

    ``headers``: as above.
    """

    def __init__(self, request: RelayRequest, headers: Headers, context: AttemptContext) -> None:
        self._request = request
        self._headers = headers
        self._context = context
        self.images = 0

    @property
    def delivered(self) -> int:
        return 0

    def estimate(self) -> Usage:
        return Usage()

    def converse(self) -> Conversing:
        """Ask once. The client gets the count, or what is wrong with its request."""
        target, context = self._context.target, self._context
        body = upstream_document(self._request, target.model, target.upstream.pass_fields, ask_usage=False)
        head = yield Send(
            "POST",
            COUNT_PATH,
            body,
            headers=(*self._headers, _ANY),
            key_header=KEY_HEADER,
            within=COUNTED_WITHIN,
            free=True,
        )
        assert isinstance(head, Head)
        answer = yield from receive_body(CHAT_ERROR_LIMIT)
        outcome = judge_answer(head, answer, context, NO_WISHES)
        if outcome.ok:
            yield Respond(head.status, answer)
            return Outcome("ok", Phase.FORWARDED, head.status)
        return outcome
