"""What a conversation says to its driver, and what it is told back.

A conversation is a generator: it yields a command and is sent the command's result, so that it reads as if it blocked.

    Send(...)      → Head            the request goes out; the answer's head comes back
    Receive(...)   → bytes           the next piece of the body, b"" at its end
    Sleep(...)     → None
    Emit(...)      → None            bytes for the client; the first meaningful one commits

It returns an ``Outcome``. The driver throws ``Stalled`` into it when a wait took too long and ``TransportError`` when
the connection failed; a conversation may answer either with an Outcome. It keeps ``usage`` and ``estimate`` current
at every yield, so that a cut stream can still be priced.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from gateway.core.types import Outcome, Usage


class Awaiting(StrEnum):
    """What the conversation waits for: the driver chooses the timer by it. The values end the slugs ``stall_*``."""

    HEAD = "head"
    CONTENT = "content"
    IDLE = "idle"
    FINISH = "finish"


@dataclass(slots=True)
class Send:
    """``path`` is appended to the endpoint's base path; ``headers`` go beside those the driver makes."""

    method: str
    path: str
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(slots=True)
class Receive:
    awaiting: Awaiting


@dataclass(slots=True)
class Sleep:
    seconds: float


@dataclass(slots=True)
class Emit:
    """Bytes for the client. ``meaningful``: whether they carry content, so that no other attempt may follow."""

    data: bytes
    meaningful: bool = True


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

Command = Send | Receive | Sleep | Emit
Conversing = Generator[Command, Head | bytes | None, Outcome]


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
        """Pictures received so far."""
        ...

    def converse(self) -> Conversing: ...

    def estimate(self) -> Usage:
        """Tokens counted from what was sent and received so far, for when the upstream names no usage."""
        ...
