"""The conversation of a relayed route with an upstream that has the same route.

The upstream gets the client's document or form with its own name of the model, and the client gets the answer as it
came: a document, a text, a stream of events, or a sound. Nothing is forwarded before the first meaningful byte, so that
until then another upstream can still be tried; errors are judged as those of a chat are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from gateway.core.billing_terms import Terms
from gateway.core.errors import TransportError
from gateway.core.json_weight import LONG
from gateway.core.outcomes.classify import read_success
from gateway.core.outcomes.foreign_pages import is_web_page
from gateway.core.outcomes.refused_wish import judged
from gateway.core.pricing.unit_amounts import is_free
from gateway.core.types import NO_WISHES, Outcome, Phase, Usage, Wish
from gateway.translate.asked_cost import asked_cost
from gateway.translate.chat_errors import interrupted, judge_answer
from gateway.translate.commands import (
    Beginning,
    Charge,
    ConversationState,
    Conversing,
    Emit,
    Head,
    Offload,
    Send,
    Stalled,
    receive_beginning,
    receive_body,
    relayed,
)
from gateway.translate.context import AttemptContext
from gateway.translate.own_wishes import wishes_left
from gateway.translate.relay_stream import RelayStream, SoundStream
from gateway.translate.relay_work import (
    believed,
    count_inputs,
    expected_choices,
    likely_usage,
    spoken,
    unseen_output,
)
from gateway.translate.whole_answers import CHAT_ERROR_LIMIT, judged_leniently
from gateway.wire.answer_cost import AnswerCost
from gateway.wire.relay_answer import content_type_of, shortened, with_cost
from gateway.wire.relay_request import RelayRequest, ignored, upstream_document, upstream_form
from gateway.wire.relay_routes import AnswerForm
from gateway.wire.sse import begins_like_events, begins_like_json, encode_event
from gateway.wire.usage_reading import tier_in
from gateway.wire.writable import dump_json

WHOLE_LIMIT = 128 << 20
"""Bytes of a whole answer: two thousand embeddings of three thousand numbers, each written out."""

_OK = Outcome("ok", Phase.FORWARDED, 200)
_ANY = (b"accept", b"*/*")
_NO_SOUND = re.compile(rb"\s*[{\[<]")
"""How a document or a page begins; no packed sound does."""


def relay_wishes(request: RelayRequest) -> frozenset[Wish]:
    """What an upstream is asked for although the client did not: the usage of a stream."""
    asks = request.route.asks_usage and request.answered is AnswerForm.EVENTS and not request.asks_for_usage
    return frozenset({Wish.STREAM_OPTIONS}) if asks else NO_WISHES


class RelayConversation(ConversationState):
    """One attempt at a relayed request.

    ``count``: counts a text's tokens. ``boundary``: of a form; the client must not be able to guess it.
    ``without``: what not to ask the upstream for unless the client did. ``max_output``: of the model; None if unknown.
    """

    def __init__(
        self,
        request: RelayRequest,
        context: AttemptContext,
        *,
        count: Callable[[str], int],
        boundary: str,
        without: frozenset[Wish] = NO_WISHES,
        max_output: int | None = None,
    ) -> None:
        self._request = request
        self._max_output = max_output
        self._context = context
        self._count = count
        self._boundary = boundary
        self._wishes = wishes_left(relay_wishes(request), without)
        self._stream = RelayStream(request.route, context, self._wishes, expected_choices(request))
        self._sound = SoundStream()
        self._document: dict[str, Any] = {}
        self._body: bytes | None = None
        self._received = 0  # bytes of a whole answer
        self._whole_sound = False
        self.cost: AnswerCost | None = None  # what the whole answer's usage is to say; None to leave it as it came
        self.images = 0
        left_out = ignored(request, context.target.upstream.pass_fields)
        self.note = f"ignored: {', '.join(left_out)}" if left_out else None

    @property
    def delivered(self) -> int:
        return 0

    @property
    def heavy(self) -> bool:  # type: ignore[override]
        return self._request.slow or self._received > LONG

    @property
    def counts_slowly(self) -> bool:  # type: ignore[override]
        return self._request.slow and self.usage is None

    @property
    def progress(self) -> int:  # type: ignore[override]
        return self._stream.progress + self._sound.progress

    @property
    def terms(self) -> Terms:
        told = self._document or self._stream.first
        if isinstance(of_events := self._stream.newest.get("response"), dict):
            told = of_events
        model = told.get("model")
        return Terms(tier=tier_in(told), model=model if isinstance(model, str) else None)

    @property
    def kept_at(self) -> tuple[str, str]:
        """The upstream and the name of its key by which what the answer names is known."""
        return self._context.target.upstream.name, self.asked_with

    @property
    def begun(self) -> dict[str, Any]:
        """The first event of a stream; empty before it came."""
        return self._stream.first

    @property
    def items(self) -> Sequence[str]:
        """The ids of the items that a stream began."""
        return self._stream.items

    @property
    def document(self) -> dict[str, Any]:
        """The whole answer, or a stream's last event."""
        return self._document or self._stream.newest

    @property
    def answer(self) -> bytes | None:
        """The whole answer, as it came but for its cost."""
        if self._body is None or self.cost is None or not self._request.route.cost_in_usage:
            return self._body
        return with_cost(self._body, self._document.get("usage"), self.cost)

    def estimate(self) -> Usage:
        """What the request probably took so far; of an answer that goes on being made unseen, all it may write."""
        if (most := unseen_output(self._request, self._document, self._stream, self._max_output)) is not None:
            return Usage(count_inputs(self._request.fields.get("input"), self._count), 0, most, confidence="estimated")
        written = self._stream.text.tokens(self._count)
        text = self._document.get("text")
        if not written and isinstance(text, str):
            written = self._count(text)
        return likely_usage(
            self._request,
            self._context.target.price,
            self._count,
            written,
            self._sound.received or self._stream.received,
            whole=self._whole_sound or self._stream.complete,
        )

    def converse(self) -> Conversing:
        """Send the request, then pass the answer on to its end."""
        request = self._request
        if request.slow:
            yield Offload()
        head = yield self._order()
        assert isinstance(head, Head)
        if head.status != 200 or (head.get(b"content-encoding") or b"identity").lower() != b"identity":
            return (yield from self._whole(head))
        if request.answered is AnswerForm.BYTES:
            return (yield from self._bytes(head))
        if (head.get(b"content-type") or b"").lower().startswith(b"text/event-stream"):
            return (yield from self._events(head))
        beginning = yield from receive_beginning()
        if request.answered is AnswerForm.EVENTS and begins_like_events(beginning.data):
            return (yield from self._events(head, beginning.data))
        return (yield from self._whole(head, beginning))

    def _order(self) -> Send:
        request, target = self._request, self._context.target
        passed, route = target.upstream.pass_fields, request.route
        whole = route.slow and request.answered is AnswerForm.WHOLE
        accept = () if request.answered is AnswerForm.EVENTS else (_ANY,)
        if route.is_form:
            body = upstream_form(request, target.model, passed, self._boundary)
            kind = (b"content-type", f"multipart/form-data; boundary={self._boundary}".encode())
            return Send("POST", route.path, body, headers=(kind, *accept), whole=whole)
        body = upstream_document(request, target.model, passed, ask_usage=Wish.STREAM_OPTIONS in self._wishes)
        return Send("POST", route.path, body, headers=accept, whole=whole)

    # A whole answer

    def _whole(self, head: Head, beginning: Beginning | None = None) -> Conversing:
        """Read an answer that is no stream: an error, a document or a text.

        ``beginning``: what has been read of it.
        """
        limit = WHOLE_LIMIT if head.status == 200 else CHAT_ERROR_LIMIT
        body = yield from receive_body(limit, beginning)
        self._received = len(body)
        if len(body) > limit and head.status == 200:
            return Outcome("bad_json", Phase.UNKNOWN, 200, detail=f"an answer of more than {limit} bytes")
        if self._is_text(head, body):
            self._body = body
            self.content_type = content_type_of(head, self._request.fields, is_sound=False)
            return _OK
        outcome, document = self._judged(head, shortened(body))
        if not outcome.ok:
            (outcome, document, body) = judged_leniently(body, lambda text: self._judged(head, text))
        if not outcome.ok:
            return outcome
        if self._request.answered is AnswerForm.BYTES:
            return Outcome("bad_content_type", Phase.UNKNOWN, head.status, detail="a document in place of a sound")
        return (yield from self._taken(document, body))

    def _taken(self, document: dict[str, Any], body: bytes) -> Conversing:
        route = self._request.route
        self._document = document
        self.usage = self._believed(route.usage(document), self._received)
        if self.usage is None and is_free(self._context.target.price):
            self.usage = Usage()  # nothing is told, and nothing about the bill is a guess
        as_events = route.as_events
        if self._request.answered is AnswerForm.EVENTS and as_events and (events := as_events(document)):
            out = [encode_event(dump_json(event)) for event in events]
            yield Emit(b"".join([*out, *self._stream.terminator()]))
            return _OK
        self._body, self.content_type = body, b"application/json"
        return _OK

    def _believed(self, usage: Usage | None, received: int) -> Usage | None:
        """``usage`` if it is plausible. ``received``: bytes of the answer."""
        return believed(usage, self._request, received)

    def _judged(self, head: Head, body: bytes) -> tuple[Outcome, dict[str, Any]]:
        context = self._context
        if 200 <= head.status < 300:
            operation = context.target.operation
            outcome, document = read_success(head.status, head, body, redact=context.redact, operation=operation)
            if outcome.ok and (name := self._request.route.answer) and document.get(name) is None:
                return Outcome("bad_json", Phase.UNKNOWN, head.status, detail=f"no answer: it has no '{name}'"), {}
            return judged(outcome, document, self._wishes, context.target.cost_class), document
        return judge_answer(head, body, context, self._wishes), {}

    def _is_text(self, head: Head, body: bytes) -> bool:
        """Whether a good answer is words and no document: a transcript as text, as subtitles."""
        kind = (head.get(b"content-type") or b"").lower()
        if head.status != 200 or not self._request.wants_text or not body or head.get(b"content-encoding"):
            return False
        if kind.startswith((b"application/json", b"text/event-stream")) or is_web_page(head, body):
            return False
        if begins_like_json(body):  # or like "[music]"
            outcome, document = self._judged(head, body)
            if document or outcome.ok:
                return False
        try:
            body.decode()
        except UnicodeDecodeError:
            return False
        return True

    # A stream of events

    def _events(self, head: Head, data: bytes = b"") -> Conversing:
        """Read a stream.

        ``data``: what has been read of it.
        """
        stream = self._stream
        if self._request.answered is not AnswerForm.EVENTS:
            return Outcome("bad_content_type", Phase.UNKNOWN, 200, detail="events that were not asked for")
        try:
            yield from relayed(stream, data)
        except (Stalled, TransportError) as trouble:
            if not stream.complete:
                return interrupted(trouble, stream.phase)
        if stream.is_document:
            return (yield from self._whole(head, Beginning(stream.first_bytes)))
        if stream.trouble is not None:
            self.usage = stream.usage
            return stream.trouble
        if not stream.answered:
            return Outcome("sse_empty", Phase.ANSWERED, 200, detail="the stream ended without content")
        self.usage = self._believed(stream.usage, stream.received)
        out = stream.ending()
        if (event := stream.usage_event) is not None and self._request.asks_for_usage:
            cost = yield from asked_cost(self._context)
            if cost is not None and isinstance(event.get("usage"), dict):
                event = {**event, "usage": cost.in_usage(event["usage"])}
            out.append(encode_event(dump_json(event)))
        out += stream.terminator()
        if out:
            yield Emit(b"".join(out))
        return _OK

    # A sound

    def _bytes(self, head: Head) -> Conversing:
        request, price = self._request, self._context.target.price
        beginning = yield from receive_beginning()
        kind = (head.get(b"content-type") or b"").lower()
        raw = request.fields.get("response_format") == "pcm"
        if kind.startswith((b"text/", b"application/json")) or (not raw and _NO_SOUND.match(beginning.data)):
            return (yield from self._whole(head, beginning))
        if not beginning.data:
            return Outcome("empty_response", Phase.ANSWERED, 200, detail="a sound without a byte")
        self.content_type = content_type_of(head, request.fields, is_sound=True)
        by_characters = price is not None and price.characters is not None
        if by_characters and self._context.tells_cost:
            self.usage = spoken(request)
            charged = yield Charge()
            self.usage = None  # it is due once the whole sound has come
            if isinstance(charged, str):
                self.headers = ((b"x-gateway-cost-usd", charged.encode()),)
        try:
            yield from relayed(self._sound, beginning.data)
        except (Stalled, TransportError) as trouble:
            return interrupted(trouble, Phase.FORWARDED)
        self._whole_sound = True
        if by_characters:
            self.usage = spoken(request)
        return _OK
