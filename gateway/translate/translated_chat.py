"""A chat answer told in the words of another API: the seam between chat conversations and other client APIs.

What a client of another API asks for is asked as a chat. The conversation of that chat owns all that is difficult
(failing over, folding, faults, usage, when it is over); what it has for its client, chunks or a whole completion, goes
to a *presenter*, which is pure and writes the answer as that API has it.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol

from gateway.core.billing_terms import Terms
from gateway.core.errors import GatewayError, ResultUnavailable, TransportError
from gateway.core.types import Usage
from gateway.translate.asked_cost import charged
from gateway.translate.commands import (
    Command,
    Conversation,
    ConversationState,
    Conversing,
    Emit,
    FedStream,
    Relay,
    Result,
    Stalled,
)
from gateway.wire.answer_cost import AnswerCost
from gateway.wire.chat_event import parsed_leniently, parsed_strictly
from gateway.wire.sse import Comment, Event, SSEParser, is_terminator
from gateway.wire.writable import writable

Translating = Generator[Command, Result, Command | None]


class Presenter(Protocol):
    """The writer of one attempt's answer. Either the stream's methods are called or ``whole``, each once but ``chunk``
    and ``alive``.
    """

    def chunk(self, chunk: dict[str, Any]) -> bytes:
        """Take a chunk of the chat. Returns the events that are due, which may be none.

        ``chunk``: as the upstream sent it, which may be odd (wire/chat_choices.py); its texts can be written.
        """
        ...

    def alive(self) -> bytes:
        """What tells the client that the upstream still works; may be empty."""
        ...

    def end(self, usage: Usage, cost: AnswerCost | None) -> bytes:
        """The last events of an answer that is complete.

        ``cost``: what its usage is to say; None to say nothing of it.
        """
        ...

    def failed(self, error: GatewayError) -> bytes:
        """The last events of an answer that broke off, or of which nothing came."""
        ...

    def whole(self, completion: dict[str, Any], usage: Usage, cost: AnswerCost | None) -> bytes:
        """The whole answer. ``completion``: as OpenAI writes one. ``cost``: as above."""
        ...


class _Telling:
    """The bytes that a chat has for its client → those of the presenter.

    ``over``: the chat said that it is complete.
    """

    def __init__(self, presenter: Presenter, event_limit: int) -> None:
        self._presenter = presenter
        self._parser = SSEParser(event_limit)
        self.over = False

    def take(self, data: bytes) -> bytes:
        """The presenter's bytes for whole events of a chat."""
        return b"".join([due for event in self._parser.feed(data) if (due := self._told(event))])

    def _told(self, event: Event | Comment) -> bytes:
        if type(event) is Comment:
            return self._presenter.alive()
        assert type(event) is Event
        if is_terminator(event.data):
            self.over = True
            return b""
        try:
            chunk = parsed_strictly(event.data)
        except ValueError as error:
            chunk = writable(parsed_leniently(event.data, error))  # the chat has read it before
        return self._presenter.chunk(chunk) if type(chunk) is dict else b""


class _TranslatedStream:
    """A chat's stream whose bytes for the client are the presenter's. Implements ``FedStream``."""

    __slots__ = ("_stream", "_telling", "awaiting", "over", "progress")

    def __init__(self, stream: FedStream, telling: _Telling) -> None:
        self._stream = stream
        self._telling = telling
        self._read()

    def _read(self) -> None:
        stream = self._stream
        self.over, self.awaiting, self.progress = stream.over, stream.awaiting, stream.progress

    def is_heavy(self, data: bytes) -> bool:
        return self._stream.is_heavy(data)

    def feed(self, data: bytes) -> bytes:
        due = self._stream.feed(data)
        self._read()
        return self._telling.take(due) if due else b""


class TranslatedConversation(ConversationState):
    """A conversation of a chat, for a client of another API.

    ``inner``: the chat's. It was asked for no chunk of usage: what it counted is told by the presenter.
    ``streamed``: whether the client wants events. ``tells_cost``: the usage is to say what the key is charged.
    ``event_limit``: bytes that one event of the chat may have.
    """

    def __init__(
        self, inner: Conversation, presenter: Presenter, *, streamed: bool, tells_cost: bool, event_limit: int
    ) -> None:
        self.inner = inner
        self.presenter = presenter
        self._streamed = streamed
        self._tells_cost = tells_cost
        self._telling = _Telling(presenter, 2 * event_limit)  # what is written again may be longer

    def converse(self) -> Conversing:
        """The chat's dialogue, with what it has for its client translated on the way."""
        conversing = self.inner.converse()
        try:
            command = next(conversing)
            while True:
                if self._streamed and (told := (yield from self._translated(command))) is not command:
                    if told is None:
                        command = conversing.send(None)
                        continue
                    command = told
                try:
                    result = yield command
                except (TransportError, Stalled, ResultUnavailable) as trouble:
                    command = conversing.throw(trouble)
                else:
                    command = conversing.send(result)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            conversing.close()

    def _translated(self, command: Command) -> Translating:
        """The command for a client of the other API; None if there is nothing to send."""
        if type(command) is Relay:
            return Relay(_TranslatedStream(command.stream, self._telling))
        if type(command) is not Emit:
            return command
        due = self._telling.take(command.data)
        if self._telling.over:
            cost = (yield from charged()) if self._tells_cost else None
            due += self.presenter.end(self._usage(), cost)
        return Emit(due, command.meaningful, command.optional) if due else None

    def last_bytes(self, data: bytes | None, cost: AnswerCost | None) -> bytes | None:
        """What is due after the conversation, where the chat's own end comes only then (``data``); None for nothing."""
        if data is None:
            return None
        due = self._telling.take(data)
        return due + self.presenter.end(self._usage(), cost) if self._telling.over else due or None

    def whole(self, answer: bytes | None, cost: AnswerCost | None) -> bytes | None:
        """The whole answer. ``answer``: the chat's."""
        if answer is None:
            return None
        try:
            completion = parsed_strictly(answer)
        except ValueError as error:
            completion = writable(parsed_leniently(answer, error))
        return self.presenter.whole(completion, self._usage(), cost)

    def _usage(self) -> Usage:
        return self.inner.usage or self.inner.estimate()

    # What the driver and the books read of it

    def estimate(self) -> Usage:
        return self.inner.estimate()

    @property
    def usage(self) -> Usage | None:  # type: ignore[override]
        return self.inner.usage

    @property
    def counts_slowly(self) -> bool:  # type: ignore[override]
        return self.inner.counts_slowly

    @property
    def answer(self) -> bytes | None:
        return self.inner.answer

    @property
    def progress(self) -> int:  # type: ignore[override]
        return self.inner.progress

    @property
    def heavy(self) -> bool:  # type: ignore[override]
        return self.inner.heavy

    @property
    def images(self) -> int:
        return self.inner.images

    @property
    def delivered(self) -> int:
        return self.inner.delivered

    @property
    def terms(self) -> Terms:
        return self.inner.terms

    @property
    def quality(self) -> str | None:  # type: ignore[override]
        return self.inner.quality

    @property
    def size(self) -> str | None:  # type: ignore[override]
        return self.inner.size

    @property
    def stated_cost(self) -> int | None:  # type: ignore[override]
        return self.inner.stated_cost

    @property
    def task_id(self) -> str | None:  # type: ignore[override]
        return self.inner.task_id

    @property
    def note(self) -> str | None:
        return self.inner.note

    @note.setter
    def note(self, note: str | None) -> None:
        self.inner.note = note
