"""The commands a conversation gives its driver, and their results.

A conversation is a generator: it yields a command and is sent the command's result, so that it reads as if it blocked.

    Send(...)      → Head            the request goes out; the answer's head comes back
    Receive(...)   → bytes           the next piece of the body, b"" at its end
    Relay(...)     → None            the pieces of the body go through a stream to the client, until that is over
    Sleep(...)     → None            wait; a wakeup may end the wait early
    Emit(...)      → None            bytes for the client; the first meaningful one commits
    Fetch(...)     → bytes           the image behind a link; raises ResultUnavailable into the conversation
    Keep(...)      → str             a link to an image the gateway keeps
    Record(...)    → None            a task's id is in the ledger once this returns
    Respond(...)   → None            the client's whole answer, now; the conversation goes on without it
    Offload(...)   → None            go on in a thread: what comes next takes long
    Charge(...)    → str | None      what the key is charged if the answer ends well with what has come

It returns an ``Outcome``. The driver throws ``Stalled`` into it when a wait took too long and ``TransportError`` when
the connection failed; a conversation may answer either with an Outcome. It keeps ``usage`` and ``estimate`` current at
every yield, so that a cut stream can still be priced.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from gateway.core.billing_terms import USUAL_TERMS, Terms
from gateway.core.exchange_record import Work
from gateway.core.headers import Headers
from gateway.core.json_weight import LONG
from gateway.core.types import Endpoint, Outcome, Usage
from gateway.wire.answer_head import Head as Head
from gateway.wire.sse import ENOUGH_TO_TELL

_MOST_BLANKS = 1 << 16
"""Bytes of blanks before an answer that are read in order to tell what it is; some servers send them to stay alive."""


class Awaiting(StrEnum):
    """The event a conversation waits for; the driver chooses the timer by it. The values end the slugs ``stall_*``."""

    HEAD = "head"
    CONTENT = "content"
    IDLE = "idle"
    FINISH = "finish"


@dataclass(slots=True)
class Send:
    """Send a request to the upstream.

    ``path``: appended to the endpoint's base path.
    ``headers``: sent beside those the driver makes; they replace one of the same name.
    ``key_header``: the header that carries the upstream's key; ``authorization`` gets ``Bearer`` before it.
    ``endpoint``: another host of the same upstream; None for the attempt's own.
    ``within``: seconds the answer's head, and then each piece of its body, may take; None leaves it to the failover
        policy's timers.
    ``whole``: the answer was asked for in one piece, so that silence until it is done says nothing: of the policy's
        timers only the endpoint's wall and the deadline hold.
    ``free``: the request costs nothing and changes nothing, so that a lost answer leaves no doubt.
    """

    method: str
    path: str
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    key_header: bytes = b"authorization"
    endpoint: Endpoint | None = None
    within: float | None = None
    free: bool = False
    whole: bool = False


@dataclass(slots=True)
class Receive:
    """Receive the next piece of the answer's body."""

    awaiting: Awaiting


class FedStream(Protocol):
    """A reader of a body that is fed with bytes as they arrive, and never waits."""

    over: bool
    """Nothing more is to be fed."""

    awaiting: Awaiting
    """What is waited for at present."""

    progress: int
    """Grows with every piece of content that comes."""

    def is_heavy(self, data: bytes) -> bool:
        """Whether feeding ``data`` takes long, so that it is done aside."""
        ...

    def feed(self, data: bytes) -> bytes:
        """Take a piece of the body, ``b""`` at its end. Returns what is due to the client, and may be nothing; once
        there is something, it is meaningful.
        """
        ...


@dataclass(slots=True)
class Relay:
    """Feed each piece of the body to ``stream``, and send the client what comes of it, until ``stream`` is over.

    It means ``Receive(stream.awaiting)``, ``feed`` and ``Emit`` again and again, without a command for each piece.
    """

    stream: FedStream


@dataclass(slots=True)
class Sleep:
    """Wait.

    ``wakeup``: the name under which the wait may be ended early (by a task's webhook); None if it cannot be.
    """

    seconds: float
    wakeup: str | None = None


@dataclass(slots=True)
class Emit:
    """Send bytes to the client.

    ``meaningful``: whether they carry content, so that no other attempt may follow.
    ``optional``: a comment that is left out while nothing else has gone to the client.
    """

    data: bytes
    meaningful: bool = True
    optional: bool = False


@dataclass(slots=True)
class Fetch:
    """Get the image behind ``url``, which an upstream named; guarded by upstream/address_guard.py."""

    url: str


@dataclass(slots=True)
class Keep:
    """Keep an image's bytes under a link that cannot be guessed."""

    data: bytes


@dataclass(slots=True)
class Record:
    """Write to the ledger, before anything else happens, that a paid task was created as ``task_id`` with the attempt's
    key.
    """

    task_id: str


@dataclass(slots=True)
class Respond:
    """Send the client ``status`` and the JSON ``body``, whole and final."""

    status: int
    body: bytes


@dataclass(slots=True)
class Charge:
    """Say what the virtual key is charged for this attempt if nothing more comes: US dollars as an exact decimal, None
    where the price is not known.
    """


class Offload:
    """Go on off the event loop, up to the next command."""


class Stalled(Exception):
    """Nothing came for too long. Thrown into a conversation.

    ``awaiting``: what was waited for.
    """

    def __init__(self, awaiting: Awaiting, seconds: float) -> None:
        super().__init__(f"nothing for {seconds:g} s while waiting for {awaiting}")
        self.awaiting = awaiting
        self.seconds = seconds


RECEIVE = {awaiting: Receive(awaiting) for awaiting in Awaiting}
"""The commands to receive, made once: a stream yields one for every piece."""

Command = Send | Receive | Relay | Sleep | Emit | Fetch | Keep | Record | Respond | Charge | Offload
Result = Head | bytes | str | None
Conversing = Generator[Command, Result, Outcome]


@dataclass(slots=True)
class Beginning:
    """The first bytes of a body, and whether they are all of it."""

    data: bytes = b""
    ended: bool = False


def relayed(stream: FedStream, beginning: bytes) -> list[Command]:
    """The commands that relay a body, whose results are None.

    ``beginning``: what has been received of it, which is fed to the stream.
    """
    commands: list[Command] = []
    if beginning and (due := stream.feed(beginning)):
        commands.append(Emit(due))
    if not stream.over:
        commands.append(Relay(stream))
    return commands


def receive_beginning() -> Generator[Command, Result, Beginning]:
    """The first pieces of the body, until they tell what it is."""
    body = b""
    while len(body.lstrip()) < ENOUGH_TO_TELL and len(body) <= _MOST_BLANKS:
        piece = yield RECEIVE[Awaiting.CONTENT]
        assert isinstance(piece, bytes)
        if not piece:
            return Beginning(body, ended=True)
        body += piece
    return Beginning(body)


def receive_body(limit: int, beginning: Beginning | None = None) -> Generator[Command, Result, bytes]:
    """The body, to its end or cut off a little beyond ``limit`` bytes; a result longer than ``limit`` was too long.

    ``beginning``: what has been received of it; None for nothing yet.
    """
    pieces = [beginning.data] if beginning is not None else []
    size = sum(map(len, pieces))
    while size <= limit and not (beginning is not None and beginning.ended):
        piece = yield RECEIVE[Awaiting.CONTENT]
        assert isinstance(piece, bytes)
        if not piece:
            break
        pieces.append(piece)
        size += len(piece)
    yield from offloaded(size)
    return b"".join(pieces)


def offloaded(size: int) -> Generator[Command, Result, None]:
    """Go on in a thread if there are so many bytes to work on that others would wait."""
    if size > LONG:
        yield Offload()


def carried_on(conversing: Conversing, result: Result = None) -> Command | Outcome:
    """The conversation's next command after ``result``, or its outcome."""
    try:
        return conversing.send(result)
    except StopIteration as end:
        outcome: Outcome = end.value
        return outcome


class ConversationState:
    """What the driver and the books read of a conversation, before anything of it is known."""

    __slots__ = ()

    usage: Usage | None = None
    progress: int = 0
    quality: str | None = None
    size: str | None = None
    stated_cost: int | None = None
    task_id: str | None = None
    note: str | None = None
    asked_with: str = ""
    content_type: bytes | None = None
    headers: Headers = ()
    heavy: bool = False
    counts_slowly: bool = False

    @property
    def terms(self) -> Terms:
        return USUAL_TERMS

    @property
    def answer(self) -> bytes | None:
        return None


class Conversation(Work, Protocol):
    """The dialogue of one attempt with one target, and what it tells the books."""

    @property
    def answer(self) -> bytes | None:
        """The whole answer for a client that did not ask for a stream, once the outcome is ok."""
        ...

    @property
    def progress(self) -> int:
        """Grows with every piece of content that comes; silence and comments do not change it."""
        ...

    @property
    def heavy(self) -> bool:
        """Whether its request or its answer is so big that writing them takes long."""
        ...

    @property
    def counts_slowly(self) -> bool:
        """Whether ``estimate`` counts tokens: the first time may take long, so that it is asked for off the loop before
        the books do.
        """
        ...

    note: str | None
    """The text of the header ``x-gateway-note``; None for none."""

    asked_with: str
    """The name of the upstream's key it is held with; the driver's caller sets it."""

    content_type: bytes | None
    """Of an answer that is neither events nor a document; None for these."""

    headers: Headers
    """Further headers of such an answer: what it costs, where that is known before its first byte."""

    def converse(self) -> Conversing:
        """The dialogue, from the request to the outcome."""
        ...
