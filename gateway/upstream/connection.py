"""One HTTP/1.1 connection to an upstream: requests go out, parsed answers come in, one exchange at a time.

A connection is an ``asyncio.Protocol``; answer_reader.py reads what comes. Its life:

    dialling ──connection_made──▶ idle ──exchange──▶ busy ──release──▶ idle …
        └─────────────────────────┴───abort / peer closes───┴──▶ retired ──connection_lost──▶ closed

All state is changed on the loop's thread, each step in O(1). Nothing here sets a timer for an answer: callers do, by
cancelling. A cancelled exchange closes its connection, because the rest of its answer would still arrive.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from gateway.core.errors import TransportError
from gateway.core.types import Phase
from gateway.upstream.answer_reader import AnswerReader, BadAnswer
from gateway.upstream.connection_owner import ConnectionOwner
from gateway.upstream.upload import UPLOAD_SLICE, Upload
from gateway.wire.answer_head import Head
from gateway.wire.turns import FEW_BYTES

BUFFER_LIMIT = 256 * 1024
"""Bytes of body kept unread before reading is paused. One more read (of at most this size again) may be under way."""


class UpstreamConnection(asyncio.Protocol):
    """A connection to one origin. ``head_limit``: bytes of an answer's status line and headers, with those of 1xx."""

    __slots__ = (
        "_answer",
        "_failure",
        "_lingering",
        "_loop",
        "_owner",
        "_reading_paused",
        "_retired",
        "_taker",
        "_transport",
        "_turn_over",
        "_unfed",
        "_upload",
        "_waiter",
        "_writing_paused",
        "busy",
        "closed",
        "received",
        "reused",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, owner: ConnectionOwner, head_limit: int) -> None:
        self._loop = loop
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._answer = AnswerReader(head_limit)
        self._waiter: asyncio.Future[None] | None = None
        self._taker: Callable[[bytes], bool] | None = None
        self._upload: Upload | None = None
        self._unfed = b""  # what came, and the reader has not been given yet
        self._turn_over = False  # what is here is for the loop's next turn
        self._failure: tuple[str, Phase, str] | None = None
        self._lingering: asyncio.TimerHandle | None = None  # the answer's end has some time left, and no reader
        self._retired = False
        self._reading_paused = False
        self._writing_paused = False
        self.busy = False
        self.reused = False
        self.received = 0
        self.closed: asyncio.Future[None] = loop.create_future()

    # What the pool and the response call

    @property
    def usable(self) -> bool:
        """Whether a request may be sent now."""
        return not (self._retired or self._transport is None or self._transport.is_closing())

    @property
    def opened(self) -> bool:
        """Whether it ever had a socket."""
        return self._transport is not None

    @property
    def complete(self) -> bool:
        return self._answer.complete

    async def exchange(self, head: bytes, body: bytes, *, head_only: bool) -> Head:
        """Send a request and return the answer's final head once it is here.

        ``head_only``: the request was a HEAD.
        Raises TransportError; closes the connection on every exception, cancellation included.
        """
        answer = self._answer
        answer.begin(head_only=head_only)
        self._failure = self._upload = None
        self._unfed = b""
        self._turn_over = False
        self.received = 0
        self.busy = True
        self._send(head, body)
        try:
            while answer.head is None:
                if self._failure is not None:
                    raise TransportError(*self._failure)
                await self._wait()
            return answer.head
        except BaseException:
            self.abort()
            raise

    async def receive(self) -> bytes:
        """The body received so far, or its next part if that is much; waits for at least one byte. ``b""`` at its end.
        Raises as ``exchange`` does.
        """
        while (data := self.take()) is None:
            try:
                if self._turn_over:
                    await self._next_turn()
                else:
                    await self._wait()
            except BaseException:
                self.abort()
                raise
        return data

    async def hand_over(self, taker: Callable[[bytes], bool]) -> None:
        """Call ``taker`` with each piece of the body, at once as it arrives, until it returns False or the body has
        ended, of which it is told by ``b""``. Returns then; what is not taken is kept for the next call.

        Raises as ``exchange`` does, and what ``taker`` raises.
        """
        try:
            if self._turn_over:
                await self._next_turn()
            self._taker = taker
            while self._push():
                await self._wait()
        except BaseException:
            self.abort()
            raise
        finally:
            self._taker = None

    def take(self) -> bytes | None:
        """``receive`` without waiting: None if nothing is here yet, or if what is here is for the loop's next turn."""
        body = self._answer.body
        if not body.size:
            if self._answer.complete:
                return b""
            if self._failure is not None:
                raise TransportError(*self._failure)
            return None
        if self._turn_over:
            return None
        data = body.take()
        if body.size:
            self._turn_over = True
            if self._taker is not None:
                self._loop.call_soon(self._push_on)
        elif self._reading_paused:
            self._resume_reading()
        return data

    def release(self) -> None:
        """End the exchange: the connection becomes idle if it is in step with its peer, else it is closed."""
        answer = self._answer
        if self._retired or not answer.in_step or not (self._upload is None or self._upload.done):
            self.abort()
            return
        self.busy = False
        self.reused = True
        if answer.body.size:
            answer.body.clear()
        if self._reading_paused:
            self._resume_reading()
        self._owner.on_idle(self)

    def release_at_end(self, seconds: float) -> None:
        """``release`` once the answer's end has come, if it does within so many seconds; what comes is dropped."""
        if self._answer.complete or self._retired:
            self.release()
            return
        self._lingering = self._loop.call_later(seconds, self.abort)
        self._linger()

    def abort(self, reason: str = "closed by the gateway") -> None:
        """Close at once and forget unsent bytes. May be called at any time, any number of times.

        A caller that waits for an incomplete head or body gets ``connection_reset`` with ``reason``.
        """
        if self._transport is not None:
            self._transport.abort()
        if self._retired:
            return
        self._retired = True
        if self._upload is not None:
            self._upload.drop()
        if self._transport is None:
            self._answer.close()
        self._owner.on_retired(self)
        if not self._answer.complete and self._failure is None:
            self._failure = ("connection_reset", self._phase, reason)
        self._wake()

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # If the pool has been closed meanwhile, the end of the dial aborts, not this: uvloop (0.23) would close the
        # descriptor under a socket object that create_connection(sock=…) is about to take over, and so twice.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if not self.busy:
            # No request is under way, so the next answer on this connection could not be trusted.
            self.abort()
            return
        self.received += len(data)
        if (
            self._taker is not None
            and len(data) <= FEW_BYTES
            and not self._unfed
            and self._failure is None
            and not self._answer.body.size
            and (chunk := self._answer.whole_chunk(data))
        ):
            self._hand_on(chunk)
            return
        if self._unfed:
            self._unfed += data
            return
        if self._failure is not None:
            return
        answer = self._answer
        try:
            self._unfed = answer.feed(data)
        except BadAnswer as bad:
            self._fail(bad.slug, bad.detail)
            return
        if self._unfed:
            self._pause_reading()
            self._loop.call_soon(self._feed_rest)
        if answer.head is not None:
            self._wake()
            if answer.body.size > BUFFER_LIMIT:
                self._pause_reading()

    def eof_received(self) -> None:
        # Half-open connections are of no use here. Not left to the transport, which would first wait until all that
        # is written has been taken, which a peer that stopped reading never does.
        self._ended(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended(exc)
        self._answer.close()
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        self._writing_paused = True
        if self._upload is not None:
            self._upload.pause()

    def resume_writing(self) -> None:
        self._writing_paused = False
        if self._upload is not None:
            self._upload.go_on()

    # Inside

    def _feed_rest(self) -> None:
        """Let the reader have what it was not given when that came."""
        rest, self._unfed = self._unfed, b""
        if rest and self.busy:
            self.received -= len(rest)  # it is counted already
            self.data_received(rest)
            if self._answer.body.size <= BUFFER_LIMIT:
                self._resume_reading()

    def _send(self, head: bytes, body: bytes) -> None:
        assert self._transport is not None
        if len(body) <= UPLOAD_SLICE:
            self._transport.write(head + body)
            return
        self._transport.write(head)
        self._upload = Upload(self._loop, self._transport, body, paused=self._writing_paused)
        self._upload.write()

    def _ended(self, error: Exception | None) -> None:
        """The peer closed (``error`` None) or the connection broke."""
        while self._unfed:
            self._feed_rest()
        if self.busy and not self._answer.complete and self._failure is None:
            if error is None and self._answer.until_close:
                self._answer.complete = True
                self._wake()
            else:
                reused = self.reused and not self.received
                detail = f"{type(error).__name__}: {error}" if error else "closed by the peer"
                self._fail("reused_conn_reset" if reused else "connection_reset", detail)
        self.abort()

    @property
    def _phase(self) -> Phase:
        return Phase.ANSWERED if self._answer.head is not None else Phase.UNKNOWN

    def _fail(self, slug: str, detail: str) -> None:
        if self._failure is None:
            self._failure = (slug, self._phase, detail)
        self.abort()

    async def _wait(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            raise RuntimeError("the response is being read already")
        self._waiter = self._loop.create_future()
        await self._waiter

    async def _next_turn(self) -> None:
        """Let others be served first."""
        self._turn_over = False
        await asyncio.sleep(0)

    def _linger(self) -> None:
        self._answer.body.clear()
        if self._answer.complete or self._retired:
            assert self._lingering is not None
            self._lingering.cancel()
            self._lingering = None
            self.release()
        elif self._reading_paused:
            self._resume_reading()

    def _push_on(self) -> None:
        self._turn_over = False
        self._wake()

    def _push(self) -> bool:
        """Give the taker what is here. Returns whether more is to be waited for."""
        answer = self._answer
        while self._taker is not None and (answer.body.size or answer.complete or self._failure is not None):
            data = self.take()
            if data is None:
                break
            if not (self._taker(data) and data):
                self._taker = None
        return self._taker is not None

    def _hand_on(self, chunk: bytes) -> None:
        """Give the taker what came, behind which nothing else waits."""
        assert self._taker is not None
        try:
            if self._taker(chunk):
                return
        except Exception as mistake:  # noqa: BLE001  # raised where it can be dealt with, not into the transport
            self._taker = None  # another chunk may come before that
            self._end_wait(mistake)
            return
        self._taker = None
        self._end_wait()

    def _wake(self) -> None:
        if self._lingering is not None:
            self._linger()
            return
        if self._waiter is None:
            return
        if self._taker is not None and self._failure is None:
            try:
                if self._push():
                    return
            except Exception as mistake:  # noqa: BLE001  # as above
                self._end_wait(mistake)
                return
        self._end_wait()

    def _end_wait(self, mistake: Exception | None = None) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is None or waiter.done():
            return
        if mistake is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(mistake)

    def _pause_reading(self) -> None:
        if not self._reading_paused and self.usable and self._transport is not None:
            self._reading_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused and not self._unfed:
            self._reading_paused = False
            if self.usable and self._transport is not None:
                self._transport.resume_reading()
