"""One HTTP/1.1 connection to an upstream: requests go out, parsed answers come in, one exchange at a time.

A connection is an ``asyncio.Protocol`` and also receives the callbacks of ``httptools``. Its life:

    dialling ──connection_made──▶ idle ──exchange──▶ busy ──release──▶ idle …
        └─────────────────────────┴───abort / peer closes───┴──▶ retired ──connection_lost──▶ closed

All state is changed on the loop's thread, each step in O(1). Nothing here sets a timer for an answer: callers do, by
cancelling. A cancelled exchange closes its connection, because the rest of its answer would still arrive.
"""

from __future__ import annotations

import asyncio
from typing import cast

import httptools

from gateway.core.errors import TransportError
from gateway.core.types import Phase
from gateway.upstream.connection_owner import ConnectionOwner
from gateway.upstream.received_body import ReceivedBody
from gateway.upstream.upload import UPLOAD_SLICE, Upload

BUFFER_LIMIT = 256 * 1024
"""Bytes of body kept unread before reading is paused. One more read (of at most this size again) may be under way."""

FED_AT_ONCE = 16 * 1024
MOST_CHUNKS = 512
"""Bytes that the parser is given at a time, and the chunks of a body among them from which on the rest waits."""


class _Refused(Exception):
    """Raised inside the parser's callbacks: the peer sent something that must not be acted upon."""


class UpstreamConnection(asyncio.Protocol):
    """A connection to one origin. ``head_limit``: bytes of an answer's status line and headers, with those of 1xx."""

    __slots__ = (
        *("_answered", "_body", "_complete", "_failure", "_framed", "_framing_bytes", "_head_limit", "_head_only"),
        *("_head_room", "_keep_alive", "_loop", "_owner", "_parser", "_reading_paused", "_retired", "_spoiled"),
        *("_transport", "_turn_over", "_unfed", "_until_close", "_upload", "_waiter", "_writing_paused", "busy"),
        *("closed", "headers", "received", "reused", "status"),
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, owner: ConnectionOwner, head_limit: int) -> None:
        self._loop = loop
        self._owner = owner
        self._head_limit = head_limit
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._retired = False
        self._reading_paused = False
        self._writing_paused = False
        self.busy = False
        self.reused = False
        self.closed: asyncio.Future[None] = loop.create_future()
        self._reset(head_only=False)

    def _reset(self, *, head_only: bool) -> None:
        self._head_only = head_only
        self._head_room = self._head_limit
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._body = ReceivedBody()
        self._turn_over = False
        self._unfed = b""  # what came, and the parser has not been given yet
        self._framing_bytes = 0
        self._upload: Upload | None = None
        self._failure: tuple[str, Phase, str] | None = None
        self._answered = False  # the final head is here
        self._complete = False  # the body too
        self._framed = False  # the head said where the body ends
        self._until_close = False  # it did not, so the peer's closing does
        self._keep_alive = False
        self._spoiled = False  # bytes came that were not asked for
        self.received = 0

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
        return self._complete

    async def exchange(self, head: bytes, body: bytes, *, head_only: bool) -> None:
        """Send a request and return when the answer's final head is here, in ``status`` and ``headers``.

        ``head_only``: the request was a HEAD.
        Raises TransportError; closes the connection on every exception, cancellation included.
        """
        self._reset(head_only=head_only)
        self.busy = True
        self._send(head, body)
        try:
            while not self._answered:
                if self._failure is not None:
                    raise TransportError(*self._failure)
                await self._wait()
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
                    self._turn_over = False
                    await asyncio.sleep(0)  # others first
                else:
                    await self._wait()
            except BaseException:
                self.abort()
                raise
        return data

    def take(self) -> bytes | None:
        """``receive`` without waiting: None if nothing is here yet, or if what is here is for the loop's next turn."""
        body = self._body
        if not body.size:
            if self._complete:
                return b""
            if self._failure is not None:
                raise TransportError(*self._failure)
            return None
        if self._turn_over:
            return None
        data = body.take()
        if body.size:
            self._turn_over = True
        else:
            self._resume_reading()
        return data

    def release(self) -> None:
        """End the exchange: the connection becomes idle if it is in step with its peer, else it is closed."""
        in_step = self._complete and self._keep_alive and not self._spoiled
        in_step = in_step and (self._upload is None or self._upload.done)
        if not (in_step and self.usable):
            self.abort()
            return
        self.busy = False
        self.reused = True
        self._body.clear()
        self._resume_reading()
        self._owner.on_idle(self)

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
            self._parser = None
        self._owner.on_retired(self)
        if not self._complete and self._failure is None:
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
        size = len(data)
        self.received += size
        if self._unfed:
            self._unfed += data
        elif self._answered:
            self._feed_body(data)
        elif size <= self._head_room:
            self._head_room -= size
            self._feed(data)
        else:
            self._feed_edge(data)
        if self._body.size > BUFFER_LIMIT:
            self._pause_reading()
        if self._answered:
            self._wake()

    def eof_received(self) -> None:
        # Half-open connections are of no use here. Not left to the transport, which would first wait until all that
        # is written has been taken, which a peer that stopped reading never does.
        self._ended(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended(exc)
        self._parser = None  # breaks the reference cycle with this object
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

    # What the parser calls, inside feed_data

    def on_message_begin(self) -> None:
        if self._complete:
            raise _Refused("a second answer to one request")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._answered:
            return  # a trailer: nothing in the wire formats spoken here uses them
        name = name.lower()
        value = value.rstrip(b" ")
        if name == b"content-length":
            self._framed = True
        elif name == b"transfer-encoding":
            # Nothing but "chunked" was asked for (RFC 9112, section 7), and here the parser must not be left to guess:
            # behind any other value, a tab at the end included, it takes the chunks' framing for the body. A
            # content-length beside it, or a second one, it refuses itself.
            if self._framed or value.lower() != b"chunked":
                raise _Refused("a transfer-encoding other than one 'chunked'")
            self._framed = True
        if value[-1:] == b"\t":
            value = value.rstrip(b" \t")
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        status = self._parser.get_status_code()
        if status < 200:
            if status < 100 or status == 101:
                raise _Refused(f"status {status}, which was not asked for")
            self.headers = []
            self._framed = False
            return
        self.status = status
        self._answered = True
        if self._head_only:
            # The parser knows of 204 and 304 that no body follows. Of this it does not, and waits for one: the answer
            # is complete, but unless it is empty by its own word the connection cannot be kept.
            self._complete = True
        else:
            self._until_close = not self._framed

    def on_body(self, piece: bytes) -> None:
        if self._complete:
            raise _Refused("a body where none may be")
        self._body.add(piece)

    def on_message_complete(self) -> None:
        if self._answered:  # a 1xx ends here as well
            assert self._parser is not None
            self._complete = True
            self._keep_alive = self._parser.should_keep_alive()

    # Inside

    def _feed(self, data: bytes) -> None:
        if self._parser is None or self._failure is not None:
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if self._complete:
                self._spoiled = True
            else:
                # No name for the exception but this clause's own: another would tie frame and traceback in a cycle.
                self._fail("bad_http", str(error.__context__ if isinstance(error.__context__, _Refused) else error))

    def _feed_body(self, data: bytes) -> None:
        """Feed what follows the head. Where it is cut into very small chunks, each of which calls back, the rest of it
        waits for the loop's next turn.
        """
        rest = b""
        pieces, waiting = self._body.pieces, self._body.size
        if len(data) > FED_AT_ONCE:
            data, rest = data[:FED_AT_ONCE], data[FED_AT_ONCE:]
        self._feed(data)
        if self._body.size > waiting:
            self._framing_bytes = 0
        else:
            self._count_framing(len(data))
        if not rest:
            return
        if self._body.pieces - pieces > MOST_CHUNKS:
            self._unfed = rest
            self._pause_reading()
            self._loop.call_soon(self._feed_rest)
        else:
            self._feed_body(rest)

    def _feed_rest(self) -> None:
        rest, self._unfed = self._unfed, b""
        if rest and self.busy:
            self._feed_body(rest)
            if not self._unfed and self._body.size <= BUFFER_LIMIT:
                self._resume_reading()
            self._wake()

    def _feed_edge(self, data: bytes) -> None:
        """Feed bytes that exceed the head's limit: the part within it must end the head."""
        room = self._head_room
        self._head_room = 0
        self._feed(data[:room])
        if self._answered:
            self._feed(data[room:])
        else:
            self._fail("head_too_big", f"the answer's head is longer than {self._head_limit} bytes")

    def _count_framing(self, size: int) -> None:
        """Bound the bytes that are not content: chunk extensions and trailers."""
        if self._complete:
            return
        self._framing_bytes += size
        if self._framing_bytes > self._head_limit:
            self._fail("bad_http", f"more than {self._head_limit} bytes of chunk extensions or trailers")

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
        if self._unfed:
            rest, self._unfed = self._unfed, b""
            self._feed(rest)
        if self.busy and not self._complete and self._failure is None:
            if error is None and self._until_close:
                self._complete = True
                self._wake()
            else:
                reused = self.reused and not self.received
                detail = f"{type(error).__name__}: {error}" if error else "closed by the peer"
                self._fail("reused_conn_reset" if reused else "connection_reset", detail)
        self.abort()

    @property
    def _phase(self) -> Phase:
        return Phase.ANSWERED if self._answered else Phase.UNKNOWN

    def _fail(self, slug: str, detail: str) -> None:
        if self._failure is None:
            self._failure = (slug, self._phase, detail)
        self.abort()

    async def _wait(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            raise RuntimeError("the response is being read already")
        self._waiter = self._loop.create_future()
        await self._waiter

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def _pause_reading(self) -> None:
        if not self._reading_paused and self.usable and self._transport is not None:
            self._reading_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused and not self._unfed:
            self._reading_paused = False
            if self.usable and self._transport is not None:
                self._transport.resume_reading()
