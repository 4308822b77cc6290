"""The conversation of a chat client with a chat upstream: ``POST /v1/chat/completions`` on either side.

The upstream is asked for a stream with usage, so that no silence grows long enough for a host to hang up, unless it is
known to refuse that (own_wishes.py). A client that wants a stream gets the upstream's own bytes from the first
meaningful event on; other clients get one completion, joined from the chunks. Nothing is forwarded before the first
meaningful event: until then another upstream can still be tried.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from gateway.core.billing_terms import Terms
from gateway.core.errors import TransportError
from gateway.core.types import NO_WISHES, CostClass, Outcome, Phase, Usage, Wish
from gateway.core.upstream_errors.upstream_error import UpstreamError
from gateway.translate.asked_cost import asked_cost
from gateway.translate.chat_errors import ended_early, interrupted, judge_answer, judge_in_band
from gateway.translate.commands import (
    RECEIVE,
    Awaiting,
    Beginning,
    ConversationState,
    Conversing,
    Emit,
    Head,
    Stalled,
    offloaded,
    receive_beginning,
    receive_body,
)
from gateway.translate.context import AttemptContext
from gateway.translate.own_wishes import chat_wishes, sending, wishes_left
from gateway.translate.whole_answers import CHAT_ERROR_LIMIT, WHOLE_ANSWER_LIMIT, judged_leniently
from gateway.wire.answer_cost import AnswerCost
from gateway.wire.answer_sounds import tell_of_sounds
from gateway.wire.asked_work import as_asked, asked_tier
from gateway.wire.chat_accumulator import ChatAccumulator
from gateway.wire.chat_choices import choices_in, tidy_choices
from gateway.wire.chat_chunk import ChunkFacts, chunk_facts, completion_as_chunks
from gateway.wire.chat_ending import ChatEnding, running_event
from gateway.wire.chat_event import (
    is_event_of_life,
    last_events,
    parsed_leniently,
    parsed_strictly,
    readable,
    unwrapped,
)
from gateway.wire.chat_pictures import ChatPictures
from gateway.wire.chat_request import CHAT_PATH, ChatRequest, upstream_body
from gateway.wire.chat_template import ContentTemplate
from gateway.wire.folded_tool_calls import offered_names
from gateway.wire.pictures_as_chat import as_completion, delta_of_images, event_of_pictures, with_images
from gateway.wire.received_text import ReceivedText
from gateway.wire.sse import (
    BARE_EVENT,
    DONE,
    Comment,
    Event,
    EventTooBig,
    FirstBytes,
    SSEParser,
    begins_like_events,
    encode_event,
    has_id,
    is_terminator,
)
from gateway.wire.usage_bounds import believed
from gateway.wire.whole_completion import with_every_field
from gateway.wire.writable import dump_json, writable

TEXT_KEPT = 1 << 20  # characters of an answer, for counting its tokens

_OK = Outcome("ok", Phase.FORWARDED, 200)
_PING = b": ping\n\n"


class ChatConversation(ConversationState):
    """One attempt at a chat.

    ``without``: what not to ask the upstream for unless the client did.
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
        without: frozenset[Wish] = NO_WISHES,
    ) -> None:
        self._request = request
        self._wishes = wishes_left(chat_wishes(request), without)
        self._context = context
        self._count = count
        self._input_tokens = input_tokens
        self._parser = SSEParser(context.event_limit)
        id, created = f"chatcmpl-{int(context.wall_seconds * 1e6):x}", int(context.wall_seconds)
        self._ending = ChatEnding(request.n, id=id, created=created, model=request.model)
        self._accumulator = (
            None
            if request.stream
            else ChatAccumulator(id, created, request.model, n=request.n, tools=offered_names(request.body))
        )
        self._text = ReceivedText(TEXT_KEPT)
        self._pictures = ChatPictures(WHOLE_ANSWER_LIMIT) if context.target.cost_class is CostClass.PAID else None
        self._completion: dict[str, Any] | None = None
        self.cost: AnswerCost | None = None  # what the whole answer's usage is to say; None to leave it as it came
        self._out: list[bytes] = []
        self._sent = 0
        self._received = 0  # bytes, of the request and of the answer
        self._first = FirstBytes()
        self._begun = False  # a chunk has come
        self._answered = False  # something meaningful has come
        self._ended = False  # the terminator has come
        self._plain = ContentTemplate()
        self._has_ids = False

    @property
    def images(self) -> int:
        """Images in the answer so far; only answers sold by the image are searched."""
        return 0 if self._pictures is None else self._pictures.count()

    @property
    def delivered(self) -> int:
        """All images: text goes to the client as it comes."""
        return self.images

    @property
    def terms(self) -> Terms:
        return Terms(asked_tier(self._request.body), self._ending.tier, self._ending.answered_model)

    @property
    def answer(self) -> bytes | None:
        """The whole answer, written at the time it is asked for."""
        if (completion := self._completion) is None:
            return None
        if self.cost is not None:
            completion = {**completion, "usage": self.cost.in_usage(completion.get("usage", {}))}
        return dump_json(with_images(completion, self._pictures, self._request.body))

    def estimate(self) -> Usage:
        """Tokens of the request and of the text received so far."""
        return Usage(self._input_tokens(), 0, self._text.tokens(self._count), confidence="estimated")

    def converse(self) -> Conversing:
        """Send the request, then forward or join the answer until its end."""
        yield from offloaded(self._request.size)
        body = upstream_body(self._request, self._context.target.model, self._wishes)
        self._sent = len(body)
        head = yield sending(CHAT_PATH, body, streamed=self._request.stream or Wish.STREAM in self._wishes)
        assert isinstance(head, Head)
        if head.status != 200 or (head.get(b"content-encoding") or b"identity").lower() != b"identity":
            return (yield from self._whole(head))
        if (head.get(b"content-type") or b"").lower().startswith(b"text/event-stream"):
            return (yield from self._events(head))
        beginning = yield from receive_beginning()  # the label of an answer says less than its first bytes
        if begins_like_events(beginning.data):
            return (yield from self._events(head, beginning.data))
        return (yield from self._whole(head, beginning))

    def _whole(self, head: Head, beginning: Beginning | None = None) -> Conversing:
        """Read an answer that is not a stream: an error, or the whole completion in one document.

        ``beginning``: what has been read of it.
        """
        limit = WHOLE_ANSWER_LIMIT if head.status == 200 else CHAT_ERROR_LIMIT
        whole = yield from receive_body(limit, beginning)
        outcome, _, whole = judged_leniently(
            whole, lambda body: (judge_answer(head, body, self._context, self._wishes), None)
        )
        if not outcome.ok:
            return outcome
        try:
            completion = as_completion(parsed_strictly(whole), self._ending.named)
            events = completion_as_chunks(completion)
        except ValueError as error:
            return Outcome("bad_json", Phase.UNKNOWN, head.status, detail=f"no completion: {error}")
        self._parser = SSEParser(2 * WHOLE_ANSWER_LIMIT)  # a whole text is one event now
        trouble = self._feed(b"".join(events))
        trouble = trouble or (yield from self._complete())
        if self._completion is not None:
            with_every_field(self._completion, completion)
        return trouble

    def _events(self, head: Head, data: bytes = b"") -> Conversing:
        """Read a stream. ``data``: what has been read of it."""
        while not self._ended:
            if not data:
                try:
                    piece = yield RECEIVE[self._awaiting()]
                except (Stalled, TransportError) as trouble:
                    if self._ending.named_last if isinstance(trouble, Stalled) else self._ending.finished:
                        break
                    return interrupted(trouble, self._phase())
                assert isinstance(piece, bytes)
                data = piece
            if not data:
                outcome = self._end_of_stream()
            elif not self._first.told and self._first.is_json(data):
                return (yield from self._whole(head, Beginning(self._first.data)))
            else:
                yield from offloaded(self._parser.held + len(data) if b"\n" in data else 0)
                outcome = self._feed(data)
            if self._out and self._answered and not self._ended:
                yield from self._forward()
            if outcome is not None:
                return outcome
            data = b""
        if not self._answered:
            return Outcome("sse_empty", Phase.ANSWERED, 200, detail="the stream ended without content")
        return (yield from self._complete())

    def _awaiting(self) -> Awaiting:
        if self._ending.named_last and not self._ending.runs_a_tool:
            return Awaiting.FINISH
        return Awaiting.IDLE if self._answered else Awaiting.CONTENT

    def _feed(self, data: bytes) -> Outcome | None:
        """Take bytes of the stream; what is to be forwarded goes to ``_out``. Returns an Outcome if it ends badly."""
        self._received += len(data)
        try:
            events = self._parser.feed(data)
        except EventTooBig as error:
            outcome = self._take_all(error.before)
            if outcome is None and (self._ended or self._ending.finished):
                self._ended = True  # the answer is whole, and the parser is of no further use
                return None
            return outcome or Outcome("sse_event_too_big", self._phase(), 200, detail=str(error))
        if self._accumulator is not None and self._received > WHOLE_ANSWER_LIMIT:
            return Outcome("sse_event_too_big", self._phase(), 200, detail="the folded answer is too big")
        return self._take_all(events)

    def _take_all(self, events: list[Event | Comment]) -> Outcome | None:
        for event in events:
            if type(event) is Comment:
                self._out_of_life()
                continue
            assert type(event) is Event
            if self._take_plain(event):
                continue
            if is_terminator(event.data):
                self._ended = True
                return None
            if event.data and (outcome := self._take(event)) is not None and not self._ending.finished:
                return outcome
            if self._ended:  # by a terminator that was wrapped up as data once more
                return None
        if not self._answered and self._received > self._context.event_limit:
            return Outcome("sse_event_too_big", Phase.ANSWERED, 200, detail="too much came before any content")
        return None

    def _take_plain(self, event: Event) -> bool:
        """Take, without parsing it, a chunk that differs from an earlier one only in its text. False if it is not such
        a chunk.
        """
        if event.event is not None or len(event.raw) - len(event.data) > BARE_EVENT:
            return False
        text = self._plain.text(event.data)
        if text is None:
            return False
        self._text.add(text)
        self.progress += 1
        if self._ending.has_reasons:
            self._ending.speaks(self._plain.index)
        if self._accumulator is not None:
            self._accumulator.add_text(self._plain.index, text)
        else:
            self._out.append(event.raw)
        return True

    def _take(self, event: Event) -> Outcome | None:
        if event.event is not None and is_event_of_life(event.event):
            self._out_of_life()
            return None
        try:
            chunk = parsed_strictly(event.data)
        except ValueError:
            return self._take_odd(event)
        facts = chunk_facts(chunk, self._request.n, event.event)
        plain = facts.meaningful and not (facts.tidied or self._pictures)
        if plain and len(event.raw) - len(event.data) <= BARE_EVENT:
            self._plain.learn(event.data, chunk)
        return self._take_chunk(event, chunk, facts)

    def _take_odd(self, event: Event) -> Outcome | None:
        """Take an event that no strict reader takes; what it means is read from the nearest JSON that one would."""
        event = readable(unwrapped(event))
        if is_terminator(event.data):
            self._ended = True
            return None
        try:
            chunk = parsed_leniently(event.data)
        except ValueError as error:
            return Outcome("sse_bad_event", self._phase(), 200, detail=f"an event that cannot be read: {error}")
        return self._take_chunk(event, chunk, chunk_facts(writable(chunk), self._request.n, event.event))

    def _take_chunk(self, event: Event, chunk: Any, facts: ChunkFacts) -> Outcome | None:
        if not facts.meaningful and (said := event_of_pictures(chunk, self._ending.named)) is not None:
            return self._take(said)
        if facts.error is not None:
            return self._error(facts.error)
        if facts.says_nothing:
            self._out_of_life()
            return None
        self._note(chunk, facts)
        self._has_ids = self._has_ids or has_id(event)
        if self._accumulator is not None:
            tidied = facts.tidied and {**chunk, "choices": tidy_choices(choices_in(chunk), self._request.n)}
            self._accumulator.add(tidied or chunk, facts.usage)  # with texts and numbers as they came
        else:
            self._pass_on(event, chunk, facts)
        return None

    def _pass_on(self, event: Event, chunk: dict[str, Any], facts: ChunkFacts) -> None:
        """Let the client have the event as it came, but its usage only at the stream's end."""
        if facts.usage_only:
            if facts.usage is not None:
                self._ending.hold_usage(chunk, event.raw)
        elif chunk.get("usage") is None:
            self._out.append(event.raw)
        elif running := running_event(event, chunk, self._request, tells_cost=self._context.tells_cost):
            self._out.append(running)

    def _out_of_life(self) -> None:
        """Let a streaming client know that the upstream still works.

        openai-python takes the blank line after a comment for an event without data once it has seen an id, and fails
        on it.
        """
        if self._accumulator is None and self._answered and not self._has_ids:
            self._out.append(_PING)

    def _note(self, chunk: dict[str, Any], facts: ChunkFacts) -> None:
        self._begun = True
        self._text.extend(facts.text)
        if self._context.heard is not None:
            tell_of_sounds(chunk, self._context.heard)
        if facts.so_far:
            self._text.add(facts.so_far[self._text.length :])
        if self._pictures is not None:
            self._pictures.take(facts.tidied or chunk)
        self._ending.take(chunk, facts)
        if facts.usage is not None:
            self.usage = facts.usage
        if facts.meaningful or facts.finish:
            self._answered = True
            self.progress += 1

    def _forward(self) -> Generator[Emit, None, None]:
        data, meaningful = b"".join(self._out), any(piece is not _PING for piece in self._out)
        self._out.clear()
        yield Emit(data, meaningful=meaningful)

    def _complete(self) -> Conversing:
        context = self._context.context
        stated = believed(self.usage, self._request, context, request_bytes=self._sent, answer_bytes=self._received)
        usage = self.usage = as_asked(stated or self.estimate(), self._request.body, self._context.target.model)
        if self._accumulator is not None:
            if stated is None:
                self._accumulator.add(self._ending.usage_chunk(usage))
            self._completion = self._accumulator.result()
            return _OK
        if delta := delta_of_images(self._pictures, self._request.body):  # before the reason
            self._out.insert(max(0, len(self._out) - 1), encode_event(dump_json(self._ending.named(delta))))
        self._out += self._ending.missing_reasons()
        if self._request.include_usage:
            self._out.append(self._ending.usage_event(usage, (yield from asked_cost(self._context))))
        self._out.append(DONE)
        yield from self._forward()
        return _OK

    def _phase(self) -> Phase:
        return Phase.FORWARDED if self._answered and self._accumulator is None else Phase.ANSWERED

    def _error(self, error: UpstreamError) -> Outcome:
        wishes = NO_WISHES if self._answered else self._wishes
        return judge_in_band(error, self._context, wishes, forwarded=self._phase() is Phase.FORWARDED)

    def _end_of_stream(self) -> Outcome | None:
        """Judge a stream that was closed properly: it is complete if it has named its reasons or its terminator.

        Its last event may lack its blank line. Where that is the half of one with content, a reason that more content
        followed is no end.
        """
        begun = self._begun or bool(self._parser.incomplete)
        last, cut = last_events(self._parser)
        if (outcome := self._take_all([*last])) is not None:
            return outcome
        if self._ended or self._ending.finished or (self._ending.has_reasons and not cut):
            self._ended = True
            return None
        return ended_early(self._phase(), begun=begun or self._begun)
