"""A chat upstream's stream of events as it is read: bytes in, bytes for the client out, and when it is over.

It does no I/O and never waits, so that the upstream's connection can feed it as bytes arrive (exchange/attempt.py). It
is the same object for a client that streams and for one whose answer is joined from the chunks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.core.json_weight import LONG
from gateway.core.types import NO_WISHES, CostClass, Outcome, Phase, Usage, Wish
from gateway.core.upstream_errors.upstream_error import UpstreamError
from gateway.translate.chat_errors import ended_early, judge_in_band
from gateway.translate.commands import Awaiting
from gateway.translate.context import AttemptContext
from gateway.translate.whole_answers import WHOLE_ANSWER_LIMIT
from gateway.wire.answer_sounds import tell_of_sounds
from gateway.wire.chat_accumulator import ChatAccumulator
from gateway.wire.chat_choices import choices_in, tidy_choices
from gateway.wire.chat_chunk import ChunkFacts, chunk_facts
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
from gateway.wire.chat_request import ChatRequest
from gateway.wire.chat_template import ContentTemplate
from gateway.wire.folded_tool_calls import offered_names
from gateway.wire.pictures_as_chat import event_of_pictures
from gateway.wire.received_text import ReceivedText
from gateway.wire.sse import Comment, Event, EventTooBig, FirstBytes, SSEParser, has_id, is_terminator, plain_event
from gateway.wire.stream_work import OVERDRAWN, StreamWork
from gateway.wire.writable import writable

TEXT_KEPT = 1 << 20  # characters of an answer, for counting its tokens
PING = b": ping\n\n"
ENOUGH_ALIKE = 2
"""Events with a text of the same choice from which on more are expected: to learn their pattern takes as long as to
parse two, and choices that take turns have none."""

MANY_AT_ONCE = ENOUGH_ALIKE + 5
"""Events of a piece that has so many texts itself: beside them an answer has a role, a reason, usage, and its end."""


class ChatStream:
    """One stream of chat events.

    ``wishes``: what the upstream was asked for although the client did not.

    ``over``: nothing more is to be read. ``trouble``: the outcome, if it ended badly. ``is_document``: it is no stream
    of events but a document, of which ``first_bytes`` are the beginning.
    ``awaiting``: what is waited for at present. ``answered``: something meaningful has come. ``progress`` grows with
    every piece of content. ``usage``: as the upstream stated it; None until it did.
    ``out``: what is due to the client and was not handed over yet.
    """

    __slots__ = (
        "_alike",
        "_begun",
        "_context",
        "_ended",
        "_first",
        "_fold",
        "_has_ids",
        "_is_plain",
        "_limit",
        "_parser",
        "_plain",
        "_request",
        "_spoke",
        "_wishes",
        "_work",
        "accumulator",
        "answered",
        "awaiting",
        "ending",
        "is_document",
        "out",
        "over",
        "pictures",
        "progress",
        "received",
        "text",
        "trouble",
        "usage",
    )

    def __init__(self, request: ChatRequest, context: AttemptContext, wishes: frozenset[Wish]) -> None:
        self._request = request
        self._wishes = wishes
        self._context = context
        self._limit = context.event_limit  # bytes of one event
        self._parser = SSEParser(self._limit)
        id, created = f"chatcmpl-{int(context.wall_seconds * 1e6):x}", int(context.wall_seconds)
        self.ending = ChatEnding(request.n, id=id, created=created, model=request.model)
        self.accumulator = (
            None
            if request.stream
            else ChatAccumulator(id, created, request.model, n=request.n, tools=offered_names(request.body))
        )
        self.text = ReceivedText(TEXT_KEPT)
        self.pictures = ChatPictures(WHOLE_ANSWER_LIMIT) if context.target.cost_class is CostClass.PAID else None
        self.usage: Usage | None = None
        self.progress = 0
        self.awaiting = Awaiting.CONTENT
        self.over = False
        self.trouble: Outcome | None = None
        self.is_document = False
        self.answered = False
        self.received = 0  # bytes
        self.out: list[bytes] = []
        self._first: FirstBytes | None = FirstBytes()  # until they tell what it is
        self._begun = self._ended = False  # a chunk has come; the terminator has come
        self._plain = ContentTemplate()
        self._spoke: tuple[int, ...] = ()  # the choice of the last event with one text that was parsed,
        self._alike = 0  # and how many of these it has had in a row
        self._is_plain = False  # a pattern is known, and the next byte begins an event
        self._fold: Callable[[list[str]], None] | None = None  # takes the texts of plain chunks of a folded answer
        self._work = StreamWork()
        self._has_ids = False

    @property
    def first_bytes(self) -> bytes:
        """The beginning of what was received, until it told what it is."""
        return b"" if self._first is None else self._first.data

    @property
    def forwarding(self) -> bool:
        """Whether the client has had something of it, so that nothing can be tried again."""
        return self.answered and self.accumulator is None

    def is_heavy(self, data: bytes) -> bool:
        """Whether feeding ``data`` takes long: between two line ends bytes are only gathered."""
        return not self._is_plain and self._parser.held > LONG and (not data or b"\n" in data or b"\r" in data)

    def feed(self, data: bytes) -> bytes:
        """Take a piece of the stream, ``b""`` for its proper end. Returns what is due to the client, which may be
        nothing; what a complete answer still owes its client stays in ``out``.
        """
        if self._is_plain and len(data) <= self._limit and (texts := self._plain.texts(data)) is not None:
            self.received += len(data)
            self.progress += len(texts)
            self.text.extend(texts)
            if self._fold is None:
                return data
            self._fold(texts)
            self.trouble = self._too_big()
            self.over = self.trouble is not None
            return b""
        if not data:
            self.trouble = self._end_of_stream()
        elif self._first is not None and self._first.is_json(data):
            self.is_document = self.over = True
            return b""
        else:
            if self._first is not None and self._first.told:
                self._first = None
            self.trouble = self._feed(data)
        self.over = self._ended or self.trouble is not None
        self._is_plain = self._plain.known and self._parser.between_events
        out = self.out
        if not out or not self.answered or self._ended:
            return b""
        due = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return due

    def take_document(self, events: list[bytes]) -> Outcome | None:
        """Take a whole answer, written as the events that would have said the same. Returns an Outcome if it ends
        badly.
        """
        self.received += sum(map(len, events))
        # A whole text is one event now, of megabytes if it is a picture: nothing is joined and taken apart again.
        return self._taken([Event(event[6:-2], None, event) for event in events])

    def _too_big(self) -> Outcome | None:
        """The outcome of an answer that is folded, if that has grown too big."""
        if self.accumulator is None or self.received <= WHOLE_ANSWER_LIMIT:
            return None
        return Outcome("sse_event_too_big", self.phase, 200, detail="the folded answer is too big")

    def _feed(self, data: bytes) -> Outcome | None:
        """Take bytes; what is to be forwarded goes to ``out``. Returns an Outcome if the stream ends badly."""
        self.received += len(data)
        if not self._parser.lets_pass(data):
            return self._parse(data)
        outcome = self._too_big() if self.received > WHOLE_ANSWER_LIMIT else None
        events, at, size, plain = 0, 0, len(data), self._plain
        alike = True  # all that follows what was learned, as far as is known
        many = not plain.known and data.count(b"\n\n") >= MANY_AT_ONCE
        while at < size and outcome is None and not self._ended:
            if alike and plain.known and (end := plain.run(data, at)):
                run = data[at:end]
                if (texts := plain.texts(run)) is not None:
                    self._take_plain(run, texts)
                    at, events = end, events + len(texts)
                    continue
                alike = False  # looked at once: a piece is read in time linear in its size
            end = data.find(b"\n\n", at) + 2
            event = plain_event(data[at:end])
            if event is None:
                break
            outcome = self._take(event, many)
            many = many and not plain.known  # expected once
            if outcome is not None and self.ending.finished:
                outcome = None
            at, events = end, events + 1
        else:
            overdrawn = self._work.spent(events, size, self.progress, self._parser.silent)
            return outcome or (self._too_much(overdrawn) if overdrawn or not self.answered else None)
        self._work.spent(events, at, self.progress, self._parser.silent)
        return self._parse(data[at:])

    def _parse(self, data: bytes) -> Outcome | None:
        """Take bytes of events that may be of any form, and cut anywhere."""
        try:
            events = self._parser.feed(data)
        except EventTooBig as error:
            outcome = self._take_all(error.before)
            if outcome is None and (self._ended or self.ending.finished):
                self._ended = True  # the answer is whole, and the parser is of no further use
                return None
            return outcome or Outcome("sse_event_too_big", self.phase, 200, detail=str(error))
        return self._taken(events)

    def _taken(self, events: list[Event | Comment]) -> Outcome | None:
        outcome = self._too_big() or self._take_all(events)
        overdrawn = self._work.overdrawn(events, self.progress, self._parser.silent)
        return outcome or self._too_much(overdrawn)

    def _too_much(self, overdrawn: bool = False) -> Outcome | None:
        """The outcome of a stream that does not come to its point.

        ``overdrawn``: too much has come that says nothing.
        """
        if not self.answered and self.received > self._limit and not self._ended:
            return Outcome("sse_event_too_big", Phase.ANSWERED, 200, detail="too much came before any content")
        if overdrawn:
            self._ended = self._ended or self.ending.finished
        return Outcome("sse_flood", self.phase, 200, detail=OVERDRAWN) if overdrawn and not self._ended else None

    def _take_all(self, events: list[Event | Comment]) -> Outcome | None:
        for event in events:
            if type(event) is Comment:
                self._out_of_life()
                continue
            assert type(event) is Event
            if (texts := self._plain.texts(event.raw)) is not None:
                self._take_plain(event.raw, texts)
            elif (outcome := self._take(event)) is not None and not self.ending.finished:
                return outcome
            elif self._ended:  # perhaps by a terminator that was wrapped up as data once more
                return None
        return self._too_much()

    def _take_plain(self, events: bytes, texts: list[str]) -> None:
        """Take, without parsing them, events that differ from an earlier one only in their texts."""
        self.progress += len(texts)
        self.text.extend(texts)
        if self._fold is None:
            self.out.append(events)
        else:
            self._fold(texts)

    def _take(self, event: Event, many: bool = False) -> Outcome | None:
        """Take an event. ``many``: more like it may be expected."""
        if event.data[:1] != b"{":
            if is_terminator(event.data):
                self._ended = True
            if self._ended or not event.data:
                return None
        if event.event is not None and is_event_of_life(event.event):
            self._out_of_life()
            return None
        try:
            chunk = parsed_strictly(event.data)
        except ValueError as error:
            return self._take_odd(event, error)
        facts = chunk_facts(chunk, self._request.n, event.event)
        outcome = self._take_chunk(event, chunk, facts)
        if len(facts.text) == 1 and facts.tidied is None and self.pictures is None and len(event.raw) <= LONG:
            self._alike = self._alike + 1 if facts.speaking == self._spoke else 1
            self._spoke = facts.speaking
            if many or self._alike >= ENOUGH_ALIKE:
                self._learn(event, chunk)
                return outcome
        if self._plain.known:
            self._plain.forget()
        return outcome

    def _learn(self, event: Event, chunk: dict[str, Any]) -> None:
        """Read those events from now on without parsing them that differ from this one only in its text."""
        plain = self._plain.learn(event.raw, event.data, chunk)
        if plain is not None and self.accumulator is not None:
            self._fold = self.accumulator.further(plain, chunk)
            if self._fold is None:
                self._plain.forget()

    def _take_odd(self, event: Event, why: ValueError) -> Outcome | None:
        """Take an event that no strict reader takes; what it means is read from the nearest JSON that one would."""
        self._plain.forget()
        event = readable(unwrapped(event))
        if is_terminator(event.data):
            self._ended = True
            return None
        try:
            chunk = parsed_leniently(event.data, why)
        except ValueError as error:
            return Outcome("sse_bad_event", self.phase, 200, detail=f"an event that cannot be read: {error}")
        return self._take_chunk(event, chunk, chunk_facts(writable(chunk), self._request.n, event.event))

    def _take_chunk(self, event: Event, chunk: Any, facts: ChunkFacts) -> Outcome | None:
        folded = chunk  # with texts and numbers as they came
        if facts.says_nothing or facts.error is not None or facts.tidied is not None:
            if not facts.meaningful and (said := event_of_pictures(chunk, self.ending.named)) is not None:
                return self._take(said)
            if facts.error is not None:
                return self._error(facts.error)
            if facts.says_nothing:
                self._out_of_life()
                return None
            folded = {**chunk, "choices": tidy_choices(choices_in(chunk), self._request.n)}
        self._note(chunk, facts)
        if self.accumulator is not None:
            self.accumulator.add(folded, facts.usage)
        else:
            self._pass_on(event, chunk, facts)
        return None

    def _pass_on(self, event: Event, chunk: dict[str, Any], facts: ChunkFacts) -> None:
        """Let the client have the event as it came, but its usage only at the stream's end."""
        self._has_ids = self._has_ids or has_id(event)
        if facts.usage_only:
            if facts.usage is not None:
                self.ending.hold_usage(chunk, event.raw)
        elif chunk.get("usage") is None:
            self.out.append(event.raw)
        elif running := running_event(event, chunk, self._request, tells_cost=self._context.tells_cost):
            self.out.append(running)

    def _out_of_life(self) -> None:
        """Let a streaming client know that the upstream still works.

        openai-python takes the blank line after a comment for an event without data once it has seen an id, and fails
        on it.
        """
        if self.accumulator is None and self.answered and not self._has_ids:
            self.out.append(PING)

    def _note(self, chunk: dict[str, Any], facts: ChunkFacts) -> None:
        self._begun = True
        if facts.text:
            self.text.extend(facts.text)
        if self._context.heard is not None:
            tell_of_sounds(chunk, self._context.heard)
        if facts.so_far:
            self.text.add(facts.so_far[self.text.length :])
        if self.pictures is not None:
            self.pictures.take(facts.tidied or chunk)
        if self.ending.take(chunk, facts):
            self.progress += 1
        if facts.usage is not None:
            self.usage = facts.usage
        if facts.meaningful or facts.finish:
            self.answered = True
            ending = self.ending
            done = ending.reasons and ending.named_last and not ending.runs_a_tool
            self.awaiting = Awaiting.FINISH if done else Awaiting.IDLE

    @property
    def phase(self) -> Phase:
        """How far an answer that ends badly had come."""
        return Phase.FORWARDED if self.forwarding else Phase.ANSWERED

    def _error(self, error: UpstreamError) -> Outcome:
        wishes = NO_WISHES if self.answered else self._wishes
        return judge_in_band(error, self._context, wishes, forwarded=self.forwarding)

    def _end_of_stream(self) -> Outcome | None:
        """Judge a stream that was closed properly: it is complete if it has named its reasons or its terminator.

        Its last event may lack its blank line. Where that is the half of one with content, a reason that more content
        followed is no end.
        """
        begun = self._begun or bool(self._parser.incomplete)
        last, cut = last_events(self._parser)
        if (outcome := self._take_all([*last])) is not None:
            return outcome
        if self._ended or self.ending.finished or (self.ending.has_reasons and not cut):
            self._ended = True
            return None
        return ended_early(self.phase, begun=begun or self._begun)
