"""Conversations as transcripts: what a conversation says (``<<``), what it is told (``>>``), what it comes to (``==``).

    << send                     the request goes out; "send GET to HOST" for one that reads, or names its host
    >> 200 text/event-stream    a head; any status and content type
    << receive content          it waits for bytes; the word is what it waits for
    >> role hello               bytes: pieces by name, put together to one
    << emit role hello          bytes for the client, told apart into the same pieces
    >> (end)                    the body's end
    >> (stall)                  nothing comes for too long
    >> (reset)                  the connection fails
    << sleep 2 or NAME          it waits; nothing is told. NAME, if there is one, may end the wait
    << record ID                a task is put on record; nothing is told
    << respond 200 hello        the client's whole answer; nothing is told
    << fetch URL                it wants an image: pieces, or
    >> (unavailable)            the image cannot be had
    << keep hello               it wants bytes kept
    >> link URL                 where they are kept
    == ok FORWARDED             slug and phase

``transcript`` plays the ``>>`` lines and returns what was said, for comparison with the whole text.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from textwrap import dedent

from gateway.core.errors import ResultUnavailable, TransportError
from gateway.core.types import Outcome, Phase
from gateway.translate.commands import (
    RECEIVE,
    Awaiting,
    Command,
    Conversation,
    Conversing,
    Emit,
    Fetch,
    Keep,
    Offload,
    Receive,
    Record,
    Relay,
    Respond,
    Send,
    Sleep,
    Stalled,
)
from gateway.wire.answer_head import Head

Pieces = Mapping[str, bytes]
Answer = Head | bytes | str
Told = Answer | Exception

UNANSWERED = (Emit, Sleep, Record, Respond)
"""Commands that come back with nothing."""


def step_by_step(conversing: Conversing) -> Conversing:
    """A conversation that waits for each piece of a relayed body, and sends what comes of it, by commands of their
    own. It goes on in the one thread there is.
    """
    result: Answer | None
    try:
        command = next(conversing)
        while True:
            try:
                if isinstance(command, Offload):
                    result = None
                else:
                    result = (yield from _as_received(command)) if isinstance(command, Relay) else (yield command)
            except (ResultUnavailable, Stalled, TransportError) as trouble:
                command = conversing.throw(trouble)
            else:
                command = conversing.send(result)
    except StopIteration as end:
        outcome: Outcome = end.value
        return outcome


def _as_received(relay: Relay) -> Generator[Command, Answer | None, None]:
    while not relay.stream.over:
        piece = yield RECEIVE[relay.stream.awaiting]
        assert isinstance(piece, bytes)
        if due := relay.stream.feed(piece):
            yield Emit(due)


def play(conversation: Conversation, told: Iterable[Told]) -> tuple[list[Command], Outcome]:
    """Converse to the end as a driver would; ``told`` must be what it asks for, no less."""
    conversing = step_by_step(conversation.converse())
    answers = iter(told)
    said: list[Command] = [next(conversing)]
    while True:
        answer = None if isinstance(said[-1], UNANSWERED) else next(answers)
        try:
            if isinstance(answer, Exception):
                said.append(conversing.throw(answer))
            else:
                said.append(conversing.send(answer))
        except StopIteration as end:
            outcome: Outcome = end.value
            return said, outcome


def emitted(said: Iterable[Command]) -> bytes:
    """All that went to the client."""
    return b"".join(command.data for command in said if isinstance(command, Emit))


def transcript(conversation: Conversation, text: str, pieces: Pieces) -> tuple[str, Outcome]:
    """Play the ``>>`` lines of ``text``; return the transcript as it came out, and the outcome."""
    told = [line.removeprefix(">> ") for line in lines(text) if line.startswith(">>")]
    waits: list[Awaiting] = []
    conversing = step_by_step(conversation.converse())
    out: list[str] = []
    command = next(conversing)
    while True:
        out.append(f"<< {_written(command, pieces)}")
        if isinstance(command, Receive):
            waits.append(command.awaiting)
        answer: Told | None = None
        if not isinstance(command, UNANSWERED):
            assert told, "\n".join([*out, "and it was told nothing more"])
            out.append(f">> {told[0]}")
            answer = _answer(told.pop(0), waits[-1] if waits else Awaiting.HEAD, pieces)
        try:
            command = conversing.throw(answer) if isinstance(answer, Exception) else conversing.send(answer)
        except StopIteration as end:
            outcome: Outcome = end.value
            assert not told, "\n".join([*out, f"and it did not wait for {told}"])
            out.append(f"== {outcome.slug} {outcome.phase.name}")
            return "\n".join(out), outcome


def lines(text: str) -> list[str]:
    """The lines of a transcript, without what only makes it nice to read."""
    return [line.rstrip() for line in dedent(text).splitlines() if line.strip()]


def _written(command: Command, pieces: Pieces) -> str:
    match command:
        case Send(method="POST", endpoint=None):
            return "send"
        case Send():
            return f"send {command.method}" + ("" if command.endpoint is None else f" to {command.endpoint.host}")
        case Receive():
            return f"receive {command.awaiting}"
        case Sleep():
            return f"sleep {command.seconds:g}" + ("" if command.wakeup is None else f" or {command.wakeup}")
        case Record():
            return f"record {command.task_id}"
        case Respond():
            return f"respond {command.status} {' '.join(_names(command.body, pieces))}"
        case Fetch():
            return f"fetch {command.url}"
        case Keep():
            return f"keep {' '.join(_names(command.data, pieces))}"
    names = " ".join(_names(command.data, pieces))
    return f"emit {names}" if command.meaningful else f"emit aside {names}"


def _names(data: bytes, pieces: Pieces) -> Iterator[str]:
    while data:
        name = next((name for name, piece in pieces.items() if piece and data.startswith(piece)), None)
        if name is None:
            yield repr(data)
            return
        yield name
        data = data[len(pieces[name]) :]


def _answer(told: str, awaiting: Awaiting, pieces: Pieces) -> Told:
    if told == "(end)":
        return b""
    if told == "(stall)":
        return Stalled(awaiting, 60)
    if told == "(unavailable)":
        return ResultUnavailable("it cannot be had")
    if told.startswith("link "):
        return told.removeprefix("link ")
    if told == "(reset)":
        return TransportError("connection_reset", Phase.ANSWERED, "it was reset")
    status, _, content_type = told.partition(" ")
    if status.isdigit():
        return Head(int(status), ((b"content-type", content_type.encode()),))
    return b"".join(pieces[name] for name in told.split())
