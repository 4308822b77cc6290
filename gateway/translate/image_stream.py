"""The base class of conversations about images that are answered by a stream: how they read, and how they end.

An image that came is delivered even if the stream broke after it, since it is paid for. Only an answer without any
image is a failure, of the kind that ended the stream.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import orjson

from gateway.core.errors import ResultUnavailable, TransportError
from gateway.core.images.types import ImageFacts, ImagesRequest, MadeImage
from gateway.core.json_weight import LONG, MOST_ANSWERED, read_json, too_heavy
from gateway.core.outcomes.shown_words import sanitise
from gateway.core.types import NO_WISHES, Outcome, Phase, Usage, Wish
from gateway.core.upstream_errors.upstream_error import UpstreamError
from gateway.translate.chat_errors import ended_early, interrupted, judge_answer, judge_document, judge_in_band
from gateway.translate.commands import (
    RECEIVE,
    Awaiting,
    Beginning,
    Command,
    ConversationState,
    Conversing,
    Emit,
    Offload,
    Result,
    Send,
    Stalled,
    offloaded,
    receive_body,
)
from gateway.translate.context import AttemptContext
from gateway.translate.presenting import Presenter
from gateway.translate.whole_answers import judged_leniently, told_apart
from gateway.wire.answer_head import Head
from gateway.wire.chat_event import is_event_of_life, parsed_leniently
from gateway.wire.nesting import too_deep
from gateway.wire.sse import Comment, Event, EventTooBig, SSEParser, begins_like_json, is_terminator
from gateway.wire.stream_work import OVERDRAWN, StreamWork
from gateway.wire.writable import writable

T = TypeVar("T")
Taking = Generator[Command, Result, Outcome | None]
"""Part of a conversation. It returns an Outcome if that ends the answer, else None."""

WHOLE_LIMIT = 128 << 20
"""Bytes of a whole answer in one document, which is in memory at once: ten images of 9 MB as base64. Streams may have
more."""

IMAGE_ERROR_LIMIT = 1 << 18
"""Bytes of an error's body that are read; a quarter of it is parsed (core/outcomes/classify.py)."""

_JSON_START = re.compile(rb"\s*+[{\[]")

VARIATION_PROMPT = "Make a variation of this image: keep its subject, style and mood, and change the details."
"""The prompt for OpenAI's variations, which have none of their own."""


class ImageStream(ConversationState, ABC):
    """One attempt at images.

    ``n``: images it is to bring.
    ``answer_limit``: bytes of an answer, streamed or not.
    ``wishes``: what it asks for although the client did not.
    """

    def __init__(
        self,
        request: ImagesRequest,
        context: AttemptContext,
        *,
        n: int,
        presenter: Presenter,
        answer_limit: int,
        wishes: frozenset[Wish] = NO_WISHES,
    ) -> None:
        self._request = request
        self._wishes = wishes
        self._context = context
        self._n = n
        self._presenter = presenter
        self._limit = answer_limit
        self._parser = SSEParser(context.event_limit)
        self._work = StreamWork()
        self._received = 0  # bytes of the answer
        self._ended = False  # the terminator has come, or all there was to wait for
        self._forwarded = False  # something meaningful has gone to the client
        self._made = 0  # images that were handed to the presenter
        self._undelivered = ""  # why an image that was made could not be delivered
        self.heavy = sum(len(image.data) for image in request.images) > LONG
        self.made_images: tuple[MadeImage, ...] = ()
        self.facts = ImageFacts()

    @property
    def images(self) -> int:
        """Images made so far that are charged for: no more than were asked for, even if more came."""
        return min(self._made, self._n)

    @property
    def delivered(self) -> int:
        """The images of these that were handed over."""
        return min(len(self.made_images), self.images)

    @abstractmethod
    def estimate(self) -> Usage:
        """The images asked for, and their tokens as far as they can be estimated beforehand."""

    @abstractmethod
    def _order(self) -> Send:
        """The request to the upstream."""

    @abstractmethod
    def _take(self, document: dict[str, Any], event: bytes | None) -> Taking:
        """Take one event of the stream.

        ``event``: its name; None if it has none.
        """

    @abstractmethod
    def _take_whole(self, document: dict[str, Any]) -> Taking:
        """Take a whole answer in one document."""

    @abstractmethod
    def _complete(self) -> bool:
        """Whether everything has come, so that the stream's end no longer matters."""

    @abstractmethod
    def _conclude(self, trouble: Outcome | None, *, whole: bool) -> Conversing:
        """Judge what came.

        ``trouble``: the outcome if the answer did not end as it should, else None.
        ``whole``: the answer was not a stream.
        """

    def converse(self) -> Conversing:
        """Send the request, read the answer to its end or break, and deliver the images that came."""
        if self.heavy:
            yield Offload()
        head = yield self._order()
        assert isinstance(head, Head)
        whole, beginning = yield from told_apart(head)
        trouble = yield from (self._whole(head, beginning) if whole else self._events(head, beginning.data))
        return (yield from self._conclude(trouble, whole=whole))

    def _whole(self, head: Head, beginning: Beginning) -> Taking:
        limit = min(self._limit, WHOLE_LIMIT) if head.status == 200 else IMAGE_ERROR_LIMIT
        whole = yield from receive_body(limit, beginning)
        self.heavy = self.heavy or len(whole) > LONG
        if len(whole) > limit and head.status == 200:
            return unusable_answer(f"it is bigger than {limit} bytes")
        if not 200 <= head.status < 300:
            return judge_answer(head, whole, self._context, self._wishes)
        try:
            check_shape(whole)
        except ValueError as error:
            return unusable_answer(str(error))
        outcome, document, whole = judged_leniently(
            whole, lambda body: judge_document(head, body, self._context, self._wishes)
        )
        if not outcome.ok:
            return outcome
        del whole  # its big parts are in the document now
        return (yield from self._take_whole(document))

    def _in_band(self, error: UpstreamError) -> Outcome:
        """The outcome of an error inside the answer."""
        wishes = NO_WISHES if self.progress else self._wishes
        return judge_in_band(error, self._context, wishes, forwarded=self._forwarded)

    def _events(self, head: Head, data: bytes) -> Taking:
        """Read a stream.

        ``data``: what has been read of it.
        """
        while not self._ended:
            if not data:
                try:
                    piece = yield RECEIVE[self._awaiting()]
                except (Stalled, TransportError) as trouble:
                    return None if self._complete() else interrupted(trouble, self._phase())
                assert isinstance(piece, bytes)
                data = piece
            if not data:
                begun = bool(self.progress or self._parser.incomplete)
                return None if self._complete() else ended_early(self._phase(), begun=begun, lacks="an image")
            if not self._received and begins_like_json(data):
                return (yield from self._whole(head, Beginning(data)))
            yield from offloaded(self._parser.held + len(data) if b"\n" in data or b"\r" in data else 0)
            outcome = yield from self._feed(data)
            if outcome is not None:
                return None if self._complete() else outcome
            data = b""
        return None

    def _awaiting(self) -> Awaiting:
        if self._complete():
            return Awaiting.FINISH
        return Awaiting.IDLE if self.progress else Awaiting.CONTENT

    def _feed(self, data: bytes) -> Taking:
        self._received += len(data)
        self.heavy = self.heavy or self._received > LONG
        too_big: str | None = None
        try:
            events = self._parser.feed(data)
        except EventTooBig as error:
            events, too_big = error.before, str(error)
        for event in events:
            outcome = yield from self._event(event)
            if outcome is not None or self._ended:
                return outcome
        if self._work.overdrawn(events, self.progress, self._parser.silent):
            return Outcome("sse_flood", self._phase(), 200, detail=OVERDRAWN)
        if too_big is None and self._received > self._limit:
            too_big = f"the answer is bigger than {self._limit} bytes"
        return None if too_big is None else Outcome("sse_event_too_big", self._phase(), 200, detail=too_big)

    def _event(self, event: Event | Comment) -> Taking:
        if isinstance(event, Comment):
            yield from self._presenter.progress("waiting for the upstream")
            return None
        if is_terminator(event.data):
            self._ended = True
            return None
        if not event.data or is_event_of_life(event.event):
            return None
        try:
            document = parsed(event.data)
        except ValueError as error:
            return Outcome("sse_bad_event", self._phase(), 200, detail=f"an event that cannot be read: {error}")
        if not document:
            return None
        return (yield from self._take(document, event.event))

    def _deliver(self, made: list[MadeImage]) -> Generator[Command, Result, None]:
        """Hand over images that were made. Those that cannot be delivered still count as made, and are charged for."""
        asked = max(0, self._n - self._made)
        self._made += len(made)
        try:
            self.made_images += yield from self._noting(self._presenter.deliver(made, self.facts, asked))
        except ResultUnavailable as missing:
            self._undelivered = str(missing)

    def _delivered(self) -> Outcome:
        """The outcome of an answer with images."""
        if self.made_images:
            return Outcome("ok", Phase.FORWARDED, 200)
        return Outcome("asset_unavailable", self._phase(), 200, detail=self._undelivered)

    def _noting(self, presenting: Generator[Command, Result, T]) -> Generator[Command, Result, T]:
        """Pass on the presenter's commands, and note whether any of them commits the exchange."""
        try:
            command = next(presenting)
            while True:
                if isinstance(command, Emit) and command.meaningful:
                    self._forwarded = True
                try:
                    result = yield command
                except ResultUnavailable as missing:
                    command = presenting.throw(missing)
                else:
                    command = presenting.send(result)
        except StopIteration as end:
            value: T = end.value
            return value

    def _phase(self) -> Phase:
        return Phase.FORWARDED if self._forwarded else Phase.ANSWERED


def unusable_answer(why: str) -> Outcome:
    """The outcome of a whole answer that is not about images.

    ``why``: a clause.
    """
    return Outcome("bad_json", Phase.UNKNOWN, 200, detail=f"no answer about images: {why}")


def in_words_only(words: str | None, *, refused: bool, phase: Phase, redact: Callable[[str], str]) -> Outcome:
    """The outcome of an answer that has words where an image should be. Nothing is bought again because of it: either
    the model would say the same, or there is an image that was not understood.

    ``refused``: the words say that the prompt is against the rules, which is the client's affair.
    """
    message = sanitise(redact(words or ""))
    if message is not None and not refused:
        message = f"The upstream answered in words, and no image was found in them: {message}"
    # The model's own text often quotes the prompt: it is for the client, not for the log.
    slug = "content_policy" if refused else "no_image"
    return Outcome(slug, phase, 200, message=message, detail="an answer without images")


def parsed(data: bytes) -> dict[str, Any]:
    """The JSON object in ``data``; empty for a sign of life, and for other JSON, which says nothing about images.

    Raises ValueError if there is no JSON, or if its shape is not acceptable.
    """
    check_shape(data)
    try:
        document = read_json(data, MOST_ANSWERED)
    except orjson.JSONDecodeError:
        document = writable(parsed_leniently(data))
    return document if isinstance(document, dict) else {}


def check_shape(data: bytes) -> None:
    """Raise ValueError if the JSON in ``data`` is nested too deeply or has far more members than an answer about
    images.

    Bytes that do not begin like JSON pass; the parser refuses them at once.
    """
    if _JSON_START.match(data) is None:
        return
    if too_heavy(data, MOST_ANSWERED):
        raise ValueError("too many members")
    if too_deep(data):
        raise ValueError("nested too deeply")
