"""What a conversation says to its driver, and what it is told back.

A conversation is a generator: it yields a command and is sent the command's result, so that it reads as if it blocked.

    Send(...)      → Head            the request goes out; the answer's head comes back
    Receive(...)   → bytes           the next piece of the body, b"" at its end
    Sleep(...)     → None            at most so long: a wakeup that something happened may end it early
    Emit(...)      → None            bytes for the client; the first meaningful one commits
    Fetch(...)     → bytes           the image behind a link; raises ResultUnavailable into the conversation
    Keep(...)      → str             a link to an image the gateway keeps
    Record(...)    → None            a task's id is in the ledger once this returns
    Respond(...)   → None            the client's whole answer, now; the conversation goes on without it

It returns an ``Outcome``. The driver throws ``Stalled`` into it when a wait took too long and ``TransportError`` when
the connection failed; a conversation may answer either with an Outcome. It keeps ``usage`` and ``estimate`` current
at every yield, so that a cut stream can still be priced.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from gateway.core.types import Endpoint, Outcome, Usage


class Awaiting(StrEnum):
    """What the conversation waits for: the driver chooses the timer by it. The values end the slugs ``stall_*``."""

    HEAD = "head"
    CONTENT = "content"
    IDLE = "idle"
    FINISH = "finish"


@dataclass(slots=True)
class Send:
    """``path`` is appended to the endpoint's base path; ``headers`` go beside those the driver makes, and replace one
    of the same name.

    ``key_header``: which header carries the upstream's key; ``authorization`` gets ``Bearer`` before it.
    ``endpoint``: another host of the same upstream, None for the attempt's own. ``within``: seconds the answer's head,
    and then each piece of its body, may take; None leaves it to the failover policy's timers.
    ``free``: asking costs nothing and changes nothing, so that an answer that is lost leaves no doubt.
    """

    method: str
    path: str
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    key_header: bytes = b"authorization"
    endpoint: Endpoint | None = None
    within: float | None = None
    free: bool = False


@dataclass(slots=True)
class Receive:
    awaiting: Awaiting


@dataclass(slots=True)
class Sleep:
    """``wakeup``: the name under which somebody may say that waiting longer is of no use (a task's webhook)."""

    seconds: float
    wakeup: str | None = None


@dataclass(slots=True)
class Emit:
    """Bytes for the client. ``meaningful``: whether they carry content, so that no other attempt may follow.

    ``optional``: a comment that is left out as long as nothing else has gone to the client.
    """

    data: bytes
    meaningful: bool = True
    optional: bool = False


@dataclass(slots=True)
class Fetch:
    """Get the image behind ``url``, which an upstream named; guarded (upstream/result_fetch.py)."""

    url: str


@dataclass(slots=True)
class Keep:
    """Keep an image's bytes and give them a link that cannot be guessed."""

    data: bytes


@dataclass(slots=True)
class Record:
    """A paid task was created under ``task_id`` with the attempt's key: the ledger must know before anything else."""

    task_id: str


@dataclass(slots=True)
class Respond:
    """``status`` and JSON ``body`` for the client, whole and final."""

    status: int
    body: bytes


@dataclass(slots=True)
class Head:
    """An answer's head. Header names are lower case."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]

    def get(self, name: bytes) -> bytes | None:
        """The first value of a header, or None."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


class Stalled(Exception):
    """Thrown into a conversation: nothing came for too long. ``awaiting`` says what was waited for."""

    def __init__(self, awaiting: Awaiting, seconds: float) -> None:
        super().__init__(f"nothing for {seconds:g} s while waiting for {awaiting}")
        self.awaiting = awaiting
        self.seconds = seconds


RECEIVE = {awaiting: Receive(awaiting) for awaiting in Awaiting}
"""The commands to receive, ready-made: a stream yields one for every piece."""

Command = Send | Receive | Sleep | Emit | Fetch | Keep | Record | Respond
Result = Head | bytes | str | None
Conversing = Generator[Command, Result, Outcome]


def receive_body(limit: int) -> Generator[Command, Result, bytes]:
    """The body, to its end or cut off a little beyond ``limit`` bytes: what is longer than that is too long."""
    body = bytearray()
    while len(body) <= limit:
        piece = yield RECEIVE[Awaiting.CONTENT]
        assert isinstance(piece, bytes)
        if not piece:
            break
        body += piece
    return bytes(body)


class Conversation(Protocol):
    """One attempt's dialogue with one target."""

    usage: Usage | None
    """What the upstream said it used, or None until it said so."""

    answer: bytes | None
    """The whole answer for a client that did not ask for a stream, once the outcome is ok."""

    progress: int
    """Grows with every piece of content that comes; silence and comments leave it as it is."""

    @property
    def images(self) -> int:
        """Images received so far."""
        ...

    @property
    def delivered(self) -> int:
        """Of those, the ones that were handed to the client, or kept for its answer."""
        ...

    quality: str | None
    size: str | None
    """Of the images that were made, for prices that are tables; None where nothing is known or asked."""

    stated_cost: int | None
    """Nano-dollars the upstream itself named as this work's cost, None if it named none."""

    task_id: str | None
    """The upstream's id of the paid task, once it is known."""

    note: str | None
    """What the client is told in ``x-gateway-note``, if anything."""

    def converse(self) -> Conversing: ...

    def estimate(self) -> Usage:
        """Tokens counted from what was sent and received so far, for when the upstream names no usage."""
        ...
