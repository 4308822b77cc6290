"""The client of one request: everything that goes to it is written here, and it may leave.

Backpressure is the transport's: a write waits while more than 64 KiB are still to be taken. Once it need not wait, head
and piece are written in one go, so nothing can come between them. A client that takes nothing for too long is cut off
by the protocol, which shows here as one that left (``gone``, and ``stalled``).

An answer whose maker is still being looked for is *held*: a stream's head goes out with its first bytes, so that
another upstream may still be tried under a true status, but after HOLD seconds at the latest; then comments follow, so
that nothing on the way times out. A whole answer may be preceded by white space, if the operator chose a heartbeat.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.core.errors import OPENAI_ERRORS, ErrorForm, GatewayError
from gateway.core.exchange_record import Trace
from gateway.core.headers import Header, Headers
from gateway.server.headers import error_headers
from gateway.server.request import Request
from gateway.server.response_head import CHUNKED, CLOSE, EVENT_STREAM, JSON_TYPE, cookie_line, response_head

HOLD = 10.0
"""Seconds a stream's head may be held back (failover policy, Rule 2)."""

PING_EVERY = 15.0
"""Seconds between comments while nothing else can be sent."""

AT_ONCE = 256 * 1024
"""Bytes that are written at once: the kernel takes megabytes in one call, which takes its time."""

STREAM = (b"content-type", b"text/event-stream; charset=utf-8")

_COMMENT = b": ping\n\n"
_SPACE = b" "
_BODILESS = (204, 304)
_LAST_CHUNK = b"0\r\n\r\n"


class Client:
    """The client of one request. Writing to one that is gone does nothing.

    ``started``: the head is out, its ``status`` can no longer change. ``finished``: so is the last byte. ``gone``: the
    client left before that, or can no longer be answered; ``stalled``: it took nothing for too long. ``refusal``: what
    the server answered itself, since what came after the head was not sound.

    ``keep_alive``: whether the connection outlives the answer; may be unset until then. ``cors``: further headers of
    every answer, for the page that asked; ``own_headers`` adds to them. ``error_form``: how it is told of errors; its
    handler may set another. ``request_id``: goes out with it. ``loop``: the one that all of it runs in.
    """

    __slots__ = (
        "_beat",
        "_beat_timer",
        "_bodiless",
        "_chunked",
        "_connection",
        "_every",
        "_flow",
        "_held_headers",
        "_label",
        "_on_gone",
        "_owed",
        "_streaming",
        "cors",
        "error_form",
        "finished",
        "gone",
        "keep_alive",
        "loop",
        "refusal",
        "request",
        "request_id",
        "stalled",
        "started",
        "status",
    )

    def __init__(self, request: Request, *, keep_alive: bool) -> None:
        self._connection = connection = request.connection
        self._flow = connection.flow
        self.request = request
        self.request_id = request.id
        self.loop = connection.loop
        self.keep_alive = keep_alive
        self.cors: Headers = ()
        self.status = 0
        self.started = self.finished = self.gone = self.stalled = False
        self.refusal: GatewayError | None = None
        self._on_gone: Callable[[], None] | None = None
        self._bodiless = request.method == "HEAD"
        self._streaming = self._chunked = False
        self._owed: int | None = None  # bytes of a body of known length that are still to come
        self.error_form: ErrorForm = OPENAI_ERRORS
        self._held_headers: Callable[[], Headers] | None = None
        self._label: Callable[[], bytes | None] | None = None
        self._beat = b""
        self._every = 0.0
        self._beat_timer: asyncio.TimerHandle | None = None

    @property
    def host(self) -> str | None:
        """The host, with its port, that the client asked by; None if it named none that can stand in a link."""
        return self.request.host

    @property
    def trace(self) -> Trace | None:
        return self.request.trace

    def own_headers(self, headers: Headers) -> None:
        """Send these with the answer, whichever it is: what a route's own clients look for."""
        self.cors = (*self.cors, *headers)

    # The client's leaving

    def watch(self, on_gone: Callable[[], None]) -> None:
        """Call ``on_gone`` once, when the client leaves before the answer is complete; at once if it has left."""
        if self.gone:
            on_gone()
        else:
            self._on_gone = on_gone

    def left(self, *, stalled: bool = False) -> None:
        """The connection is lost, or will take no more of this answer."""
        if self.finished or self.gone:
            return
        self.gone, self.stalled = True, stalled
        self.request.end()
        self.hush()
        tell, self._on_gone = self._on_gone, None
        if tell is not None:
            tell()

    def abort(self) -> None:
        """Cut the connection, so that the client cannot take what it has for the whole."""
        self._connection.abort()

    # A whole answer

    async def respond(self, status: int, headers: Headers, body: bytes, *, cookie: bytes = b"") -> None:
        """Send a whole answer, perhaps with a ``cookie`` of ours. It is JSON unless ``headers`` has a content type."""
        if self._flow.writing_paused:
            await self._room()
        if self.started:
            raise RuntimeError("an answer has begun already")
        if self.gone:
            self.started, self.status = True, status
            return
        size = len(body)
        if status in _BODILESS:
            self._bodiless, framing, default = True, b"", b""
        else:
            framing, default = b"content-length: %d\r\n" % size, JSON_TYPE
        framing += cookie_line(cookie) if cookie else b""
        head = self._begin(status, headers, framing, default)
        if self._bodiless:
            self._connection.transport.write(head)
        elif size <= AT_ONCE:
            self._connection.transport.write(head + body)
        else:
            self._connection.transport.write(head)
            await self.write(body)
        if not self.gone:
            self._finish()

    async def error(self, error: GatewayError, headers: Headers = ()) -> None:
        """Answer with an error: its body, ``x-should-retry``, ``retry-after`` if another try can help."""
        await self.respond(error.status, (*error_headers(error), *headers), self.error_form.body(error))

    # An answer in pieces

    async def start(
        self, status: int, headers: Headers, *, length: int | None = None, default: bytes = JSON_TYPE
    ) -> None:
        """Send the head of an answer whose body comes in pieces: ``write`` them, then ``finish``.

        ``length``: bytes of the body, if that is known; more or less of them is an error of who writes.
        ``default``: the line of the content type, if ``headers`` has none.
        """
        if self._flow.writing_paused:
            await self._room()
        head = self._open(status, headers, length, default)
        self._streaming = any(name == b"content-type" and value.startswith(EVENT_STREAM) for name, value in headers)
        self._write(head)

    async def write(self, data: bytes) -> None:
        """Send a piece of the body; return when the next one may come."""
        if self._flow.writing_paused:
            await self._room()
        if len(data) <= AT_ONCE:
            self._put(data)
            return
        view = memoryview(data)  # a picture: others have their turn between two slices
        for start in range(0, len(data), AT_ONCE):
            await self._room()
            self._put(bytes(view[start : start + AT_ONCE]))
            await asyncio.sleep(0)

    def write_now(self, data: bytes) -> bool:
        """``write`` without waiting. False if the client must be waited for, is gone, or the head is not out: then
        ``write``.
        """
        size = len(data)
        if self.gone or self._flow.writing_paused or not self._chunked or self.finished or not 0 < size <= AT_ONCE:
            return False
        self._connection.transport.write(b"%x\r\n%b\r\n" % (size, data))
        return True

    async def finish(self) -> None:
        """End the answer."""
        if self._flow.writing_paused:
            await self._room()
        if self.gone:
            return
        if not self.started or self.finished:
            raise RuntimeError("no answer has begun that could end")
        if self._owed:
            raise RuntimeError("the body is shorter than its content-length")
        if self._chunked:
            self._connection.transport.write(_LAST_CHUNK)
        self._finish()

    async def stream_error(self, error: GatewayError) -> None:
        """End a stream that has begun: one event with the error, no ``[DONE]``, and the connection closes."""
        self.keep_alive = False
        await self.write(self.error_form.last_event(error))
        await self.finish()

    async def fail(self, error: GatewayError, headers: Headers = ()) -> None:
        """Tell of an error in the way that is still open: a true status before the head, then an event, or a body
        behind a heartbeat's 200; cut the connection if there is none.
        """
        if self.gone or self.finished:
            return
        self.hush()
        if not self.started:
            held = self._held_headers
            await self.error(error, headers if held is None else (*held(), *headers))
        elif self._streaming:
            await self.stream_error(error)
        elif self._beat == _SPACE:
            await self.write(self.error_form.body(error))
            await self.finish()
        else:
            self.abort()

    # An answer that is held

    def hold(
        self,
        *,
        stream: bool,
        heartbeat: float,
        headers: Callable[[], Headers],
        bare: bool = False,
        label: Callable[[], bytes | None] | None = None,
    ) -> None:
        """Begin to hold an answer. ``stream``: the client asked for events. ``heartbeat``: seconds between the spaces
        before a whole answer, or 0. ``headers``: asked for when the head goes out. ``bare``: the answer is a sound or a
        text, around which nothing may stand. ``label``: asked for its content type then; None for that of events, or
        of a document. ``release`` forgets both.
        """
        self._held_headers, self._label = headers, label
        if bare:
            return
        if stream:
            self._beat, self._every, first = _COMMENT, PING_EVERY, HOLD
        else:
            self._beat, self._every, first = _SPACE, heartbeat, heartbeat
        if first > 0:
            self._beat_timer = self.loop.call_later(first, self._keep_alive)

    async def emit(self, data: bytes, meaningful: bool) -> None:
        """Pass on bytes of a stream, behind its head if that is not out. From the first meaningful ones on no comment
        comes between.
        """
        if meaningful and self._beat_timer is not None:
            self.hush()
        if self._flow.writing_paused:
            await self._room()
        if self.started or self.gone:
            await self.write(data)
            return
        head = self._open_held(STREAM)
        if len(data) <= AT_ONCE:
            self._put(data, head)
        else:
            self._write(head)
            await self.write(data)

    async def complete(self, answer: bytes | None, headers: Headers = (), *, status: int = 200) -> None:
        """End an answer that was held: ``answer`` is its whole body, or None after a stream."""
        if self._beat_timer is not None:
            self.hush()
        if answer is None:
            await self.finish()
        elif self.started:
            await self.write(answer)
            await self.finish()
        else:
            await self.respond(status, (*self._headers_of_held(), *headers), answer)

    def hush(self) -> None:
        """No comment, or space, comes any more."""
        if self._beat_timer is not None:
            self._beat_timer.cancel()
            self._beat_timer = None

    def release(self) -> None:
        """Forget what was held, which refers back to who held it."""
        if self._beat_timer is not None:
            self.hush()
        self._held_headers = self._label = None

    def _headers_of_held(self, usual: Header | None = None) -> Headers:
        """``usual``: its content type, if its label says no other."""
        headers = () if self._held_headers is None else self._held_headers()
        label = None if self._label is None else self._label()
        kind = usual if label is None else (b"content-type", label)
        return headers if kind is None else (kind, *headers)

    def _open_held(self, usual: Header | None) -> bytes:
        self._streaming = self._beat == _COMMENT
        return self._open(200, self._headers_of_held(usual))

    def _keep_alive(self) -> None:
        """The head, if that is not out, and a beat; a client that has bytes still to take needs none."""
        self._beat_timer = self.loop.call_later(self._every, self._keep_alive)
        if self._flow.writing_paused:
            return
        if self.started:
            self._put(self._beat)
        else:
            self._put(self._beat, self._open_held(STREAM if self._beat == _COMMENT else None))

    # Inside: nothing here waits

    def _open(self, status: int, headers: Headers, length: int | None = None, default: bytes = JSON_TYPE) -> bytes:
        """The head of an answer in pieces; empty for a client that is gone."""
        if self.started:
            raise RuntimeError("an answer has begun already")
        if self.gone:
            self.started, self.status = True, status
            return b""
        if status in _BODILESS:
            self._bodiless = True
        chunked = length is None and not self._bodiless and self.request.version != "1.0"
        framing = CHUNKED if chunked else b"" if length is None else b"content-length: %d\r\n" % length
        head = self._begin(status, headers, framing, default)
        self._chunked = chunked
        self._owed = None if self._bodiless else length
        return head

    def _begin(self, status: int, headers: Headers, framing: bytes, default: bytes) -> bytes:
        """The head; from here on it counts as sent."""
        request = self.request
        if not request.complete:
            self.keep_alive = False
        if not self.keep_alive:
            framing += CLOSE
        if self.cors:
            headers = (*headers, *self.cors)
        head = response_head(status, self._connection.state.date, request.id, headers, framing=framing, default=default)
        request.expects_continue = False
        self.started, self.status = True, status
        return head

    def _put(self, data: bytes, head: bytes = b"") -> None:
        """Write a piece of the body, behind the head if that goes out with it."""
        if self.gone:
            return
        if not self.started or self.finished:
            raise RuntimeError("no answer has begun that this could be a piece of")
        if self._bodiless:
            data = b""  # what is sent after such a head is not for the wire
        elif self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        elif self._owed is not None:
            if len(data) > self._owed:
                raise RuntimeError("the body is longer than its content-length")
            self._owed -= len(data)
        self._write(head + data)

    def _write(self, data: bytes) -> None:
        if data:
            self._connection.transport.write(data)

    def _finish(self) -> None:
        self.finished = True
        if self._beat_timer is not None:
            self.hush()
        self._on_gone = None  # it refers back to this object: no cycle is left for the collector
        self.request.end()
        self._connection.answered()

    async def _room(self) -> None:
        """Return when the client takes more, or is gone."""
        while self._flow.writing_paused and not self.gone:
            await self._flow.drain()
