"""The streams of relayed routes as they are read: bytes in, the same bytes for the client out, and when it is over.

Like translate/chat_stream.py they do no I/O and never wait, so that the upstream's connection can feed them.
"""

from __future__ import annotations

from typing import Any

from gateway.core.json_weight import LONG
from gateway.core.types import NO_WISHES, Outcome, Phase, Usage, Wish
from gateway.core.upstream_errors.upstream_error import error_in, read_upstream_error
from gateway.translate.chat_errors import ended_early, judge_in_band
from gateway.translate.commands import Awaiting
from gateway.translate.context import AttemptContext
from gateway.wire.chat_event import is_event_of_life, last_events, parsed_leniently, parsed_strictly
from gateway.wire.received_text import ReceivedText
from gateway.wire.relay_routes import RelayRoute
from gateway.wire.sse import DONE, Comment, Event, EventTooBig, FirstBytes, SSEParser, has_id, is_terminator
from gateway.wire.stream_work import OVERDRAWN, StreamWork
from gateway.wire.writable import writable

TEXT_KEPT = 1 << 20  # characters of an answer, for counting its tokens
PING = b": ping\n\n"
MOST_ITEMS = 1_000  # of one response whose ids are remembered


class SoundStream:
    """A sound: any bytes, which end with the body.

    ``received``: how many came.
    """

    __slots__ = ("awaiting", "over", "progress", "received")

    def __init__(self) -> None:
        self.over = False
        self.awaiting = Awaiting.CONTENT
        self.progress = 0
        self.received = 0

    def is_heavy(self, data: bytes) -> bool:
        return False

    def feed(self, data: bytes) -> bytes:
        """Take a piece, which is due to the client as it is."""
        if not data:
            self.over = True
            return b""
        self.received += len(data)
        self.progress += 1
        self.awaiting = Awaiting.IDLE
        return data


class RelayStream:
    """One stream of events, of which the client gets every one as it came, from the first that brings the answer on.

    ``wishes``: what the upstream was asked for although the client did not.
    ``parts``: how many parts the answer has, each of which says that it is complete.

    ``over``: nothing more is to be read. ``trouble``: the outcome, if it ended badly. ``is_document``: it is no stream
    of events but a document, of which ``first_bytes`` are the beginning. ``answered``: something has gone out.
    ``complete``: all that the answer consists of has come. ``usage``: as the upstream stated it; None until it did.
    ``usage_event``: the event that says nothing else; it is held back until the stream's end.
    ``out``: what is due to the client and was not handed over yet. ``first``, ``newest``: the first event's document,
        and the last one's. ``items``: the ids of the items that were begun.
    """

    __slots__ = (
        "_context",
        "_done",
        "_first_bytes",
        "_has_ids",
        "_parser",
        "_parts",
        "_route",
        "_wishes",
        "_work",
        "answered",
        "awaiting",
        "complete",
        "first",
        "is_document",
        "items",
        "newest",
        "out",
        "over",
        "progress",
        "received",
        "text",
        "trouble",
        "usage",
        "usage_event",
    )

    def __init__(self, route: RelayRoute, context: AttemptContext, wishes: frozenset[Wish], parts: int = 1) -> None:
        self._route = route
        self._context = context
        self._wishes = wishes
        self._parts = parts
        self._parser = SSEParser(context.event_limit)
        self._first_bytes = FirstBytes()
        self._work = StreamWork()
        self._has_ids = False
        self._done = False
        self.over = False
        self.awaiting = Awaiting.CONTENT
        self.progress = 0
        self.trouble: Outcome | None = None
        self.is_document = False
        self.answered = False
        self.complete = False
        self.received = 0
        self.text = ReceivedText(TEXT_KEPT)
        self.usage: Usage | None = None
        self.usage_event: dict[str, Any] | None = None
        self.first: dict[str, Any] = {}
        self.newest: dict[str, Any] = {}
        self.items: list[str] = []
        self.out: list[bytes] = []

    @property
    def first_bytes(self) -> bytes:
        """The beginning of what was received, until it told what it is."""
        return self._first_bytes.data

    @property
    def phase(self) -> Phase:
        """How far an answer that ends badly had come."""
        return Phase.FORWARDED if self.answered else Phase.ANSWERED

    def is_heavy(self, data: bytes) -> bool:
        """Whether feeding ``data`` takes long: between two line ends bytes are only gathered."""
        return self._parser.held + len(data) > LONG and (not data or b"\n" in data or b"\r" in data)

    def feed(self, data: bytes) -> bytes:
        """Take a piece of the stream, ``b""`` for its proper end. Returns what is due to the client, which may be
        nothing; what a complete answer still owes its client stays in ``out``.
        """
        if not data:
            self.trouble = self._end_of_stream()
        elif not self._first_bytes.told and self._first_bytes.is_json(data):
            self.is_document = self.over = True
            return b""
        else:
            self.trouble = self._feed(data)
        self.over = self._done or self.trouble is not None
        if not self.answered or self._done or not self.out:
            return b""
        due = b"".join(self.out)
        self.out.clear()
        return due

    def _feed(self, data: bytes) -> Outcome | None:
        self.received += len(data)
        try:
            events = self._parser.feed(data)
        except EventTooBig as error:
            outcome = self._take_all(error.before)
            return outcome or Outcome("sse_event_too_big", self.phase, 200, detail=str(error))
        outcome = self._take_all(events)
        if outcome is None and self._work.overdrawn(events, self.progress, self._parser.silent):
            self._done = self.complete
            return None if self._done else Outcome("sse_flood", self.phase, 200, detail=OVERDRAWN)
        if outcome is None and not self.answered and self.received > self._context.event_limit:
            return Outcome("sse_event_too_big", Phase.ANSWERED, 200, detail="too much came before any content")
        return outcome

    def _take_all(self, events: list[Event | Comment]) -> Outcome | None:
        for event in events:
            if type(event) is Comment:
                self._out_of_life()
                continue
            assert type(event) is Event
            if is_terminator(event.data):
                self._done = True
                return None
            if event.data and (outcome := self._take(event)) is not None:
                return outcome
            if self._done:
                return None
        return None

    def _take(self, event: Event) -> Outcome | None:
        if is_event_of_life(event.event):
            self._out_of_life(event)
            return None
        try:
            document = parsed_strictly(event.data)
        except ValueError as why:
            try:
                document = writable(parsed_leniently(event.data, why))
            except ValueError as unread:
                return Outcome("sse_bad_event", self.phase, 200, detail=f"an event that cannot be read: {unread}")
        if not isinstance(document, dict) or not document:
            self._out_of_life()
            return None
        if (error := error_in(document, is_error=event.event == b"error")) is not None:
            wishes = NO_WISHES if self.answered else self._wishes
            return judge_in_band(error, self._context, wishes, forwarded=self.answered)
        return self._pass_on(event, document)

    def _pass_on(self, event: Event, document: dict[str, Any]) -> Outcome | None:
        facts = self._route.event(document)
        if facts.failed is not None and not self.answered:
            return judge_in_band(read_upstream_error(facts.failed), self._context, self._wishes, forwarded=False)
        self.newest = document
        if facts.item and len(self.items) < MOST_ITEMS:
            self.items.append(facts.item)
        self._has_ids = self._has_ids or has_id(event)
        self.first = self.first or document
        if facts.usage is not None:
            self.usage = facts.usage
        if facts.usage_only:
            self.usage_event = document
            return None
        self.out.append(event.raw)
        if facts.text:
            self.text.add(facts.text)
        if facts.content:
            self.answered = True
            self.progress += 1
        self._parts -= facts.ended
        self.complete = self.complete or facts.last or (facts.ended > 0 and self._parts <= 0)
        if self.complete:
            self.awaiting = Awaiting.FINISH
        elif self.answered:
            self.awaiting = Awaiting.IDLE
        return None

    def _out_of_life(self, event: Event | None = None) -> None:
        """Let a client know that the upstream still works; see ``ChatStream``. ``event``: what said so, if one did."""
        if self.answered and not self._has_ids:
            self.out.append(PING)

    def _end_of_stream(self) -> Outcome | None:
        """Judge a stream that was closed properly."""
        begun = self.progress > 0 or bool(self._parser.incomplete)
        last, _ = last_events(self._parser)
        if (outcome := self._take_all([*last])) is not None:
            return outcome
        if self._done or self.complete:
            self._done = True
            return None
        return ended_early(self.phase, begun=begun)

    def ending(self) -> list[bytes]:
        """What the client is still owed, but for the event with the usage and the terminator."""
        owed, self.out = self.out, []
        return owed

    def terminator(self) -> list[bytes]:
        return [DONE] if self._route.done else []
