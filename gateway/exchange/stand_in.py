"""The client of work that no connection waits for: it collects the answer, and tells it to those who ask."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.core.errors import GatewayError
from gateway.core.exchange_record import Trace
from gateway.core.headers import Headers

MOST_COLLECTED = 64 << 20
"""Bytes of a stream that are kept for those who come later."""

Unsubscribe = Callable[[], None]


class PiecesGone(LookupError):
    """The first pieces that are asked for are kept no longer."""


class Pieces:
    """The pieces of a stream in their order, as they come. Each has its place, the first 0, as long as it is known.

    ``most``: bytes that are kept; of more, the oldest pieces are let go.
    ``over``: nothing more will come.
    """

    def __init__(self, most: int = MOST_COLLECTED) -> None:
        self._most = most
        self._kept: deque[bytes] = deque()
        self._size = 0
        self._next = 0
        self._subscribers: dict[object, tuple[Callable[[bytes], None], Callable[[], None] | None]] = {}
        self.over = False

    @property
    def first(self) -> int:
        """The place of the first piece that is kept."""
        return self._next - len(self._kept)

    @property
    def next(self) -> int:
        """The place of the piece that comes next."""
        return self._next

    @property
    def size(self) -> int:
        """Bytes of the pieces that are kept."""
        return self._size

    def kept(self, start: int = 0) -> list[bytes]:
        """The pieces from this place on that have come. Raises PiecesGone."""
        if start < self.first:
            raise PiecesGone(f"the first piece that is kept is {self.first}, not {start}")
        if start >= self._next:
            return []
        return [*self._kept] if start == self.first else [*self._kept][start - self.first :]

    def add(self, piece: bytes) -> None:
        """Take the next piece, and tell it to all who follow. Of none, or after the end, nothing comes."""
        if not piece or self.over:
            return
        self._kept.append(piece)
        self._next += 1
        self._size += len(piece)
        while self._size > self._most:
            self._size -= len(self._kept.popleft())
        for follower, (on_piece, _) in [*self._subscribers.items()]:
            if follower in self._subscribers:  # it may have left meanwhile
                on_piece(piece)

    def end(self) -> None:
        """Nothing more will come."""
        if self.over:
            return
        self.over = True
        followers, self._subscribers = self._subscribers, {}
        for _, on_end in followers.values():
            if on_end is not None:
                on_end()

    def subscribe(
        self, on_piece: Callable[[bytes], None], on_end: Callable[[], None] | None = None, *, start: int | None = None
    ) -> Unsubscribe:
        """Call ``on_piece`` with each piece from ``start`` on, those that have come at once; None: with those to come.

        ``on_end``: called once, behind the last piece; at once if that has been. Neither may raise. Returns what ends
        it, after which neither is called. Raises PiecesGone.
        """
        follower = object()
        for piece in () if start is None else self.kept(start):
            on_piece(piece)
        skipped = 0 if start is None else start - self._next  # pieces that are to come, but are not asked for

        def on_late(piece: bytes) -> None:
            nonlocal skipped
            if skipped > 0:
                skipped -= 1
            else:
                on_piece(piece)

        if not self.over:
            self._subscribers[follower] = (on_late if skipped > 0 else on_piece, on_end)
        elif on_end is not None:
            on_end()
        return lambda: _drop(self._subscribers, follower)

    async def after(self, start: int = 0) -> AsyncIterator[bytes]:
        """The pieces from this place on, those that are to come included; those that have come meanwhile together.

        Raises PiecesGone, also of one that reads so slowly that what it has not read is kept no longer.
        """
        more = asyncio.Event()

        def wake(_: bytes = b"") -> None:
            more.set()

        leave = self.subscribe(wake, wake)
        try:
            while True:
                more.clear()
                over = self.over
                if due := self.kept(start):
                    start += len(due)
                    yield b"".join(due)
                elif over:
                    return
                else:
                    await more.wait()
        finally:
            leave()


def _drop(subscribers: dict[object, Any], follower: object) -> None:
    subscribers.pop(follower, None)


@dataclass(frozen=True, slots=True)
class Ending:
    """How an answer ended: with ``error``, or well.

    ``status``: HTTP status. ``headers``: those of the exchange, ``x-request-id`` and the content type excluded.
    ``body``: of a whole answer; None after a stream, an error, or where there is none.
    """

    status: int
    headers: Headers = ()
    body: bytes | None = None
    error: GatewayError | None = None


class StandInClient:
    """Stands in for the client of an exchange. Implements ``exchange.client.Client``; nothing of it waits.

    It is used in its loop alone, and may serve several exchanges, one after the other, before it ends. An exchange
    whose client left tells it no end: who runs it does (``end``).

    ``request_id``, ``host``, ``trace``: as if a client had asked with them. ``pieces``: those of a stream, one for each
    time that bytes came; ``divide`` may make several of them.
    """

    def __init__(
        self,
        request_id: str,
        loop: asyncio.AbstractEventLoop,
        *,
        host: str | None = None,
        trace: Trace | None = None,
        most: int = MOST_COLLECTED,
        divide: Callable[[bytes], Sequence[bytes]] | None = None,
    ) -> None:
        self.request_id = request_id
        self.loop = loop
        self.host = host
        self.trace = trace
        self.pieces = Pieces(most)
        self._divide = divide
        self._started = self._gone = self._stalled = False
        self._on_gone: Callable[[], None] | None = None
        self._held: Callable[[], Headers] | None = None
        self._label: Callable[[], bytes | None] | None = None
        self._head: Headers | None = None
        self._content_type: bytes | None = None
        self._ending: Ending | None = None
        self._on_end: list[Callable[[], None]] = []

    # What is known of it

    @property
    def started(self) -> bool:
        """Bytes of an answer have come."""
        return self._started

    @property
    def gone(self) -> bool:
        return self._gone

    @property
    def stalled(self) -> bool:
        return self._stalled

    @property
    def ending(self) -> Ending | None:
        """How it ended; None as long as it has not."""
        return self._ending

    @property
    def head(self) -> Headers:
        """The headers that stood when the first bytes came, or at the end; empty before."""
        return self._head or ()

    @property
    def content_type(self) -> bytes | None:
        """What the answer is, if it is neither events nor a document."""
        return self._content_type

    # For who waits

    def on_end(self, call: Callable[[], None]) -> None:
        """Call this once it has ended, behind the last piece; at once if it has. It must not raise."""
        if self._ending is None:
            self._on_end.append(call)
        else:
            call()

    async def ended(self) -> Ending:
        """How it ended, once it has."""
        over = asyncio.Event()
        self.on_end(over.set)
        await over.wait()
        assert self._ending is not None
        return self._ending

    # For who has it served

    def leave(self, *, stalled: bool = False) -> None:
        """As if the client left: what is billed by usage is ended. Nothing happens after its end."""
        if self._gone or self._ending is not None:
            return
        self._gone, self._stalled = True, stalled
        tell, self._on_gone = self._on_gone, None
        if tell is not None:
            tell()

    def add(self, data: bytes) -> None:
        """Take bytes of a stream; with none it has begun."""
        if self._ending is not None:
            return
        if not self._started:
            self._started = True
            self._take_head()
        if self._divide is None:
            self.pieces.add(data)
        else:
            for piece in self._divide(data):
                self.pieces.add(piece)

    def end(self, ending: Ending) -> None:
        """It ends like this, unless it has ended."""
        if self._ending is not None:
            return
        self._ending = ending
        self._on_gone = None
        self.pieces.end()
        calls, self._on_end = self._on_end, []
        for call in calls:
            call()

    # What an exchange calls

    def watch(self, on_gone: Callable[[], None]) -> None:
        if self._gone:
            on_gone()
        else:
            self._on_gone = on_gone

    def hold(
        self,
        *,
        stream: bool,
        heartbeat: float,
        headers: Callable[[], Headers],
        bare: bool = False,
        label: Callable[[], bytes | None] | None = None,
    ) -> None:
        """Nothing is held back: what comes is told as it comes."""
        self._held, self._label = headers, label

    async def emit(self, data: bytes, meaningful: bool) -> None:
        self.add(data)

    def write_now(self, data: bytes) -> bool:
        if self._gone or not self._started or not data:
            return False
        self.add(data)
        return True

    async def complete(self, answer: bytes | None, headers: Headers = (), *, status: int = 200) -> None:
        self._end_with(status, headers, answer)

    async def error(self, error: GatewayError, headers: Headers = ()) -> None:
        self._end_with(error.status, headers, error=error)

    async def fail(self, error: GatewayError, headers: Headers = ()) -> None:
        self._end_with(error.status, headers, error=error)

    def release(self) -> None:
        self._held = self._label = self._on_gone = None

    def abort(self) -> None:
        self.leave()

    # Inside

    def _end_with(
        self, status: int, headers: Headers, body: bytes | None = None, error: GatewayError | None = None
    ) -> None:
        self._take_head()
        self.end(Ending(status, (*self.head, *headers), body, error))

    def _take_head(self) -> None:
        """The headers as they stand; those that a stream began with stay."""
        if self._head is not None:
            return
        self._head = () if self._held is None else tuple(self._held())
        self._content_type = None if self._label is None else self._label()
