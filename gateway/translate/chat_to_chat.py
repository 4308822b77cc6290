"""The conversation of a chat client with a chat upstream: ``POST /v1/chat/completions`` on either side.

The upstream is always asked for a stream with usage, so that no silence grows long enough for a host to hang up. A
client that wants a stream gets the upstream's own bytes from the first meaningful event on; other clients get one
completion, joined from the chunks. Nothing is forwarded before the first meaningful event: until then another upstream
can still be tried.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from typing import Any

import orjson

from gateway.core.errors import TransportError
from gateway.core.outcomes.classify import classify_answer, classify_error
from gateway.core.types import CostClass, Outcome, Phase, Usage
from gateway.core.upstream_errors.upstream_error import UpstreamError
from gateway.translate.commands import RECEIVE, Awaiting, Conversing, Emit, Head, Send, Stalled, receive_body
from gateway.translate.context import AttemptContext
from gateway.wire.chat_accumulator import ChatAccumulator
from gateway.wire.chat_chunk import ChunkFacts, chunk_facts, completion_as_chunks, strip_usage, usage_chunk
from gateway.wire.chat_request import CHAT_PATH, ChatRequest, upstream_body
from gateway.wire.chat_template import ContentTemplate
from gateway.wire.image_text import image_links
from gateway.wire.nesting import too_deep
from gateway.wire.received_text import ReceivedText
from gateway.wire.sse import DONE, Comment, Event, EventTooBig, SSEParser, encode_event, is_terminator
from gateway.wire.usage_bounds import believable_usage

CHAT_EVENT_LIMIT = 1 << 20
PAID_CHAT_EVENT_LIMIT = 32 << 20
"""Bytes one event may have, of a chat billed by tokens and of one sold by the image, whose images may be base64 in the
text."""

WHOLE_ANSWER_LIMIT = 64 << 20
CHAT_ERROR_LIMIT = 1 << 20
"""Bytes of a body that is no event stream: of a success (``WHOLE_ANSWER_LIMIT``) and of an error."""

TEXT_KEPT = 1 << 20
TEXT_WITH_IMAGES_KEPT = 64 << 20
"""Characters of an answer that are kept for counting its tokens (``TEXT_KEPT``), or for finding the images it is sold
by."""

HELD_LIMIT = 1 << 20
"""Bytes that may come before the first content; they are held in case another upstream must be tried."""

_OK = Outcome("ok", Phase.FORWARDED, 200)
_PING = b": ping\n\n"
_ID_FIELD = re.compile(rb"(?:\A|[\r\n])id[:\r\n]")
_BARE_EVENT = len(b"data: \r\n\r\n")
"""Bytes an event has around its data if it has nothing else."""


class ChatConversation:
    """One attempt at a chat.

    ``count``: counts a text's tokens.
    ``input_tokens``: counts the request's tokens, once for all attempts.
    """

    def __init__(
        self,
        request: ChatRequest,
        context: AttemptContext,
        *,
        count: Callable[[str], int],
        input_tokens: Callable[[], int],
    ) -> None:
        self._request = request
        self._context = context
        self._count = count
        self._input_tokens = input_tokens
        self._paid = context.target.cost_class is CostClass.PAID
        self._parser = SSEParser(PAID_CHAT_EVENT_LIMIT if self._paid else CHAT_EVENT_LIMIT)
        self._accumulator = None if request.stream else ChatAccumulator()
        self._text = ReceivedText(TEXT_WITH_IMAGES_KEPT if self._paid else TEXT_KEPT)
        self._out: list[bytes] = []
        self._last_chunk: dict[str, Any] = {}
        self._finished: set[int] = set()
        self._sent = 0
        self._received = 0  # bytes, of the request and of the answer
        self._answered = False  # something meaningful has come
        self._ended = False  # the terminator has come
        self._plain = ContentTemplate()
        self._usage_sent = False
        self._has_ids = False
        self.progress = 0
        self.usage: Usage | None = None
        self.answer: bytes | None = None
        self.quality: str | None = None
        self.size: str | None = None
        self.stated_cost: int | None = None
        self.task_id: str | None = None
        self.note: str | None = None

    @property
    def images(self) -> int:
        """Images in the text so far; only answers sold by the image are searched."""
        return len(image_links(self._text.text())) if self._paid else 0

    @property
    def delivered(self) -> int:
        """All images: text goes to the client as it comes."""
        return self.images

    def estimate(self) -> Usage:
        """Tokens of the request and of the text received so far."""
        return Usage(self._input_tokens(), 0, self._text.tokens(self._count), confidence="estimated")

    def converse(self) -> Conversing:
        """Send the request, then forward or join the answer until its end."""
        body = upstream_body(self._request, self._context.target.model)
        self._sent = len(body)
        head = yield Send("POST", CHAT_PATH, body)
        assert isinstance(head, Head)
        content_type = (head.get(b"content-type") or b"").lower()
        encoding = (head.get(b"content-encoding") or b"identity").lower()
        if head.status == 200 and content_type.startswith(b"text/event-stream") and encoding == b"identity":
            return (yield from self._events())
        return (yield from self._whole(head))

    def _whole(self, head: Head) -> Conversing:
        """Read an answer that is not a stream: an error, or the whole completion in one document."""
        limit = WHOLE_ANSWER_LIMIT if head.status == 200 else CHAT_ERROR_LIMIT
        whole = yield from receive_body(limit)
        outcome = self._judge(head, whole)
        if not outcome.ok:
            return outcome
        try:
            events = completion_as_chunks(_parsed(whole))
        except ValueError as error:
            return Outcome("bad_json", Phase.UNKNOWN, head.status, detail=f"no completion: {error}")
        self._parser = SSEParser(2 * WHOLE_ANSWER_LIMIT)  # a whole text is one event now
        trouble = self._feed(b"".join(events))
        return trouble or (yield from self._complete())

    def _judge(self, head: Head, body: bytes) -> Outcome:
        context = self._context
        return classify_answer(
            head.status, head, body, context.source(), wall_seconds=context.wall_seconds, redact=context.redact
        )

    def _events(self) -> Conversing:
        while not self._ended:
            try:
                data = yield RECEIVE[self._awaiting()]
            except (Stalled, TransportError) as trouble:
                if self._all_finished():
                    break
                return self._interrupted(trouble)
            assert isinstance(data, bytes)
            if not data:
                if self._all_finished():
                    break
                return self._end_of_stream()
            outcome = self._feed(data)
            if self._out and self._answered and not self._ended:
                yield from self._forward()
            if outcome is not None:
                return outcome
        if not self._answered:
            return Outcome("sse_empty", Phase.ANSWERED, 200, detail="the stream ended without content")
        return (yield from self._complete())

    def _awaiting(self) -> Awaiting:
        if self._all_finished():
            return Awaiting.FINISH
        return Awaiting.IDLE if self._answered else Awaiting.CONTENT

    def _all_finished(self) -> bool:
        return len(self._finished) >= self._request.n

    def _feed(self, data: bytes) -> Outcome | None:
        """Take bytes of the stream; what is to be forwarded goes to ``_out``. Returns an Outcome if the stream ends
        badly.
        """
        self._received += len(data)
        try:
            events = self._parser.feed(data)
        except EventTooBig as error:
            outcome = self._take_all(error.before)
            if outcome is None and (self._ended or self._all_finished()):
                self._ended = True  # the answer is whole, and the parser is of no further use
                return None
            return outcome or Outcome("sse_event_too_big", self._phase(), 200, detail=str(error))
        if self._accumulator is not None and self._received > WHOLE_ANSWER_LIMIT:
            return Outcome("sse_event_too_big", self._phase(), 200, detail="the folded answer is too big")
        return self._take_all(events)

    def _take_all(self, events: list[Event | Comment]) -> Outcome | None:
        for event in events:
            if type(event) is Comment:
                # openai-python takes the blank line after a comment for an event without data once it has seen an id,
                # and fails on it.
                if self._accumulator is None and self._answered and not self._has_ids:
                    self._out.append(_PING)
                continue
            assert type(event) is Event
            if self._take_plain(event):
                continue
            if is_terminator(event.data):
                self._ended = True
                return None
            if event.data and (outcome := self._take(event)) is not None and not self._all_finished():
                return outcome
        if not self._answered and self._received > HELD_LIMIT:
            return Outcome("sse_event_too_big", Phase.ANSWERED, 200, detail="too much came before any content")
        return None

    def _take_plain(self, event: Event) -> bool:
        """Take, without parsing it, a chunk that differs from an earlier one only in its text. False if it is not such
        a chunk.
        """
        if event.event is not None or len(event.raw) - len(event.data) > _BARE_EVENT:
            return False
        text = self._plain.text(event.data)
        if text is None:
            return False
        self._text.add(text)
        self.progress += 1
        if self._accumulator is not None:
            self._accumulator.add_text(self._plain.index, text)
        else:
            self._out.append(event.raw)
        return True

    def _take(self, event: Event) -> Outcome | None:
        try:
            chunk = _parsed(event.data)
        except ValueError as error:
            return Outcome("sse_bad_event", self._phase(), 200, detail=f"an event that cannot be read: {error}")
        facts = chunk_facts(chunk, self._request.n, event.event)
        if facts.error is not None:
            return self._error(facts.error)
        if facts.malformed is not None:
            return Outcome("sse_bad_event", self._phase(), 200, detail=facts.malformed)
        self._note(chunk, facts)
        if len(event.raw) - len(event.data) > _BARE_EVENT:
            self._has_ids = self._has_ids or _ID_FIELD.search(event.raw) is not None
        elif facts.meaningful:
            self._plain.learn(event.data, chunk)
        if self._accumulator is not None:
            self._accumulator.add(chunk)
        elif "usage" not in chunk or chunk["usage"] is None:
            self._out.append(event.raw)
        elif self._request.include_usage and (facts.usage is not None or not facts.usage_only):
            self._usage_sent = self._usage_sent or facts.usage is not None
            self._out.append(event.raw)
        elif (stripped := strip_usage(chunk)) is not None:
            self._out.append(encode_event(orjson.dumps(stripped), event.event))
        return None

    def _note(self, chunk: dict[str, Any], facts: ChunkFacts) -> None:
        self._last_chunk = chunk
        self._text.extend(facts.text)
        if facts.finish:
            self._finished.update(facts.finish)
        if facts.usage is not None:
            self.usage = facts.usage
        if facts.meaningful or facts.finish:
            self._answered = True
            self.progress += 1

    def _forward(self) -> Generator[Emit, None, None]:
        data = b"".join(self._out)
        meaningful = any(piece is not _PING for piece in self._out)
        self._out.clear()
        yield Emit(data, meaningful=meaningful)

    def _complete(self) -> Generator[Emit, None, Outcome]:
        if self.usage is not None and not believable_usage(
            self.usage, self._request, request_bytes=self._sent, answer_bytes=self._received
        ):
            self.usage = None
        if self.usage is None:
            self.usage = self.estimate()
            estimated = usage_chunk(self._last_chunk, self.usage)
            if self._accumulator is not None:
                self._accumulator.add(estimated)
            elif self._request.include_usage and not self._usage_sent:
                self._out.append(encode_event(orjson.dumps(estimated)))
        if self._accumulator is not None:
            self.answer = orjson.dumps(self._accumulator.result())
        else:
            self._out.append(DONE)
            yield from self._forward()
        return _OK

    def _phase(self) -> Phase:
        return Phase.FORWARDED if self._answered and self._accumulator is None else Phase.ANSWERED

    def _error(self, error: UpstreamError) -> Outcome:
        return classify_error(error, forwarded=self._phase() is Phase.FORWARDED, redact=self._context.redact)

    def _interrupted(self, trouble: Stalled | TransportError) -> Outcome:
        phase = self._phase()
        if isinstance(trouble, Stalled):
            return Outcome(f"stall_{trouble.awaiting}", phase, 200, detail=str(trouble))
        slug = "sse_cut_late" if phase is Phase.FORWARDED else "sse_cut_early"
        return Outcome(slug, phase, 200, detail=f"{trouble.slug}: {trouble.detail}")

    def _end_of_stream(self) -> Outcome:
        """The outcome of a stream that was closed properly, but without a finish reason or terminator."""
        phase = self._phase()
        if phase is Phase.FORWARDED:
            return Outcome("sse_truncated", phase, 200, detail="the stream ended without a finish reason")
        slug = "sse_cut_early" if self._last_chunk or self._parser.incomplete else "sse_empty"
        return Outcome(slug, phase, 200, detail="the stream ended before any content")


def _parsed(data: bytes) -> Any:
    """The JSON in ``data``. Raises ValueError if there is none, or if it is nested too deeply to be written again."""
    if too_deep(data):
        raise ValueError("nested too deeply")
    return orjson.loads(data)
