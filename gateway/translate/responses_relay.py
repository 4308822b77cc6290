"""``POST /v1/responses`` relayed to an upstream that has it: no byte of the answer is changed.

What is kept at the upstream is known to the key that it was made with, and to no other; so who asks notes where.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gateway.core.errors import GatewayError, TransportError
from gateway.core.types import NO_WISHES, Outcome, Phase, Usage
from gateway.translate.chat_errors import interrupted, judge_answer
from gateway.translate.commands import (
    ConversationState,
    Conversing,
    Head,
    Respond,
    Send,
    Stalled,
    receive_body,
    relayed,
)
from gateway.translate.context import AttemptContext
from gateway.translate.relay import RelayConversation
from gateway.translate.relay_stream import SoundStream
from gateway.translate.whole_answers import CHAT_ERROR_LIMIT, WHOLE_ANSWER_LIMIT
from gateway.wire.field_checks import a_boolean, a_model_name, an_integer
from gateway.wire.relay_routes import AnswerForm, RelayRoute
from gateway.wire.relay_usage import event_of_response, tokens_of_completion
from gateway.wire.sse import encode_event
from gateway.wire.writable import dump_json

READ_WITHIN = 20.0
"""Seconds that one host has."""

_READ = Outcome("ok", Phase.FORWARDED, 200)

_ABOUT_THE_RESPONSE = frozenset({"ok", "model_missing", "rejected", "conflict"})
"""Outcomes of a read that are about the response. All others are about the gateway's key, the host or the way there."""


def _streamed(fields: Any) -> AnswerForm:
    return AnswerForm.EVENTS if fields.get("stream") is True else AnswerForm.WHOLE


RESPONSES = RelayRoute(
    "/v1/responses",
    "responses",
    {"model": a_model_name, "stream": a_boolean, "max_output_tokens": an_integer(1)},
    _streamed,
    "id",
    usage=tokens_of_completion,
    event=event_of_response,
    slow=True,
    cost_in_usage=False,
)


COMPACTION = RelayRoute(
    "/v1/responses/compact",
    "responses",
    {"model": a_model_name},
    lambda _: AnswerForm.WHOLE,
    "output",
    usage=tokens_of_completion,
    slow=True,
    cost_in_usage=False,
)


class ResponseRead(ConversationState):
    """One attempt at reading what is kept of a response, or at changing it; it costs nothing.

    ``path``: with its query. ``body``: a document to send. An answer of events is relayed as it comes.
    """

    def __init__(self, method: str, path: str, context: AttemptContext, body: bytes = b"") -> None:
        self._method = method
        self._path = path
        self._body = body
        self._context = context
        self.images = 0

    @property
    def delivered(self) -> int:
        return 0

    def estimate(self) -> Usage:
        return Usage()

    def converse(self) -> Conversing:
        """Ask once. The upstream's answer about the response goes to the client, refusals included."""
        head = yield Send(self._method, self._path, body=self._body, within=READ_WITHIN, free=True)
        assert isinstance(head, Head)
        if head.status == 200 and (head.get(b"content-type") or b"").lower().startswith(b"text/event-stream"):
            return (yield from self._events())
        body = yield from receive_body(WHOLE_ANSWER_LIMIT if head.status == 200 else CHAT_ERROR_LIMIT)
        context = self._context
        outcome = judge_answer(head, body, context, NO_WISHES)
        failed = outcome.slug == "soft_error" and head.status == 200  # a response that failed tells of an error
        if outcome.slug in _ABOUT_THE_RESPONSE or failed:
            yield Respond(head.status, (context.redact_document or context.redact)(body))
            return _READ
        return outcome

    def _events(self) -> Conversing:
        events = SoundStream()
        try:
            yield from relayed(events, b"")
        except (Stalled, TransportError) as trouble:
            return interrupted(trouble, Phase.FORWARDED if events.received else Phase.UNKNOWN)
        return _READ


def failed_event(conversation: RelayConversation, error: GatewayError) -> bytes | None:
    """The last event of a relayed stream that broke off: the response as it was begun, and that it failed. None where
    none was begun.
    """
    begun, newest = conversation.begun.get("response"), conversation.document
    if not isinstance(begun, dict):
        return None
    number = newest.get("sequence_number")
    told = {"code": "server_error", "message": error.message}
    event = {
        "type": "response.failed",
        "sequence_number": number + 1 if type(number) is int else 0,
        "response": {**begun, "status": "failed", "error": told},
    }
    return encode_event(dump_json(event), b"response.failed")


def ids_made(conversation: RelayConversation) -> Iterator[str]:
    """The ids that the answer gave its client: of the response, of its items and containers, of the conversation.

    Of a stream that broke off, or whose client left, the response's own at least, and of the items that were begun.
    """
    for document in (conversation.begun, conversation.document):
        response = document.get("response", document)
        if not isinstance(response, dict):
            continue
        items = response.get("output")
        for one in (response, *(items if isinstance(items, list) else ()), response.get("conversation")):
            if isinstance(one, dict):
                yield from (id for name in ("id", "container_id") if isinstance(id := one.get(name), str) and id)
    yield from conversation.items
