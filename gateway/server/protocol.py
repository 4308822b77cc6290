"""HTTP/1.1 towards clients: a connection's bytes in, requests to the application, its answers out.

A connection is an ``asyncio.Protocol`` and at the same time what ``httptools`` calls back. It goes through four
stages, a request at a time:

    HEAD ──head complete──▶ BODY ──body complete──▶ ANSWER ──answer complete──▶ HEAD …
      └────────refused────────┴──answered too early─▶ CLOSING ◀── the connection shall not go on

A head is bounded in size and time, pipelining is refused, and so is every message that two readers might read
differently: llhttp, behind httptools, refuses bare LF, obs-fold, control characters, spaces before colons, repeated or
signed Content-Length, Content-Length with Transfer-Encoding and malformed chunks; request_head.py refuses what it lets
pass.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import httptools

from gateway.core.errors import GatewayError, gateway_overloaded, internal_error
from gateway.core.headers import Headers
from gateway.runtime.interruption import Watchdog
from gateway.server.body_framing import BodyFraming, too_much_framing
from gateway.server.connection_stage import ConnectionStage
from gateway.server.cycle import RequestCycle
from gateway.server.flow import FlowControl
from gateway.server.headers import error_headers, headers_too_large, malformed_request, request_id, request_timeout
from gateway.server.proxy_protocol import Source, begins_as_header
from gateway.server.request_head import WATCHED, check_headers, check_request_line, check_upgrade, without_offer
from gateway.server.response_head import response_head
from gateway.server.scope import connection_scope, request_scope
from gateway.server.slots import Seat
from gateway.server.state import ListenerState
from gateway.server.unsent import unsent_bytes

REQUEST = "request"
"""The name of the task in which the application answers a request."""

_log = logging.getLogger("gateway.server")

HEAD, BODY, ANSWER, CLOSING = ConnectionStage


class ServerProtocol(asyncio.Protocol):
    """One client's connection; it is the ``DownstreamConnection`` in the scope of each of its requests."""

    transport: asyncio.Transport
    _flow: FlowControl
    _scope: dict[str, Any]  # what all requests of the connection have in common
    _one_too_many: bool

    def __init__(self, loop: asyncio.AbstractEventLoop, state: ListenerState) -> None:
        self._loop = loop
        self._state = state
        self._limits = state.limits
        self.slots = state.slots
        self._parser = httptools.HttpRequestParser(self)
        self._watchdog = Watchdog(loop, self._waited_too_long)
        self._cycle: RequestCycle | None = None  # the present request, or the last one
        self._stage = HEAD
        self._head_began = False
        self._head_raw = 0  # bytes of a head that has not ended yet, by segments
        self._segment = 0  # bytes of the segment being parsed
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []  # of the present request
        self._watched: list[tuple[bytes, bytes]] = []
        self._of_page = False  # the present request has an Origin
        self._framing = BodyFraming(self._limits.headers)
        self._ignoring_upgrade = self._still_sending = False
        self._offer_dropped = False  # the head is being read once more, without its offer
        self._unsent = 0
        self.gone = self.stalled = False
        self.refusal: tuple[GatewayError, str] | None = None
        self.on_gone: Callable[[], None] | None = None

    # What the application may ask of its client's connection (connection.py), and the listener of any

    @property
    def request_complete(self) -> bool:
        return self._stage is ANSWER

    @property
    def idle(self) -> bool:
        return self._stage is HEAD and not self._head_began

    def close_after_answer(self) -> None:
        if self._cycle is not None:
            self._cycle.keep_alive = False

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        if not self.gone and self._cycle is not None:
            await self._cycle.answer(status, headers, body)

    def piece(self, data: bytes) -> bool:
        return not self.gone and self._cycle is not None and self._cycle.piece(data)

    def hold_head(self) -> None:
        if self._cycle is not None:
            self._cycle.hold_head()

    def shutdown(self) -> None:
        if self._cycle is None or self._cycle.complete:
            self.transport.close()
        else:
            self._cycle.keep_alive = False

    def abort(self) -> None:
        self.transport.abort()

    # The transport's callbacks. A client that closes its half of the connection has left: eof_received closes ours.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._flow = FlowControl(self.transport, self._limits.write_stall, self._stalled)
        self._scope = connection_scope(transport, self)
        self._watchdog.watch(self._loop.time() + self._limits.head_timeout)
        seat = self.slots.enter(self, self._scope["client"], self._limits)
        self._one_too_many = seat is not Seat.GIVEN
        if seat is Seat.NONE:
            self.transport.abort()
            self._tell_refused(gateway_overloaded(), request_id(()))

    def comes_from(self, client: Source) -> None:
        """A proxy that is believed said so, before the first request."""
        self._scope["client"] = client
        self.slots.renew(self, client)

    def connection_lost(self, exc: Exception | None) -> None:
        self.slots.leave(self)
        self._stage = CLOSING
        self._watchdog.stop()
        if self._cycle is not None:
            self._cycle.disconnect()
        self._flow.lost()
        self._client_left()
        # These refer back to the connection, which must not stay in memory until the garbage collector comes by.
        del self._parser
        self._cycle = None
        self._scope.clear()
        self._state.closed.set()

    def data_received(self, data: bytes) -> None:
        stage = self._stage
        if stage is CLOSING:
            return
        if stage is ANSWER:
            self._client_did_not_wait()
            return
        content = self._framing.content
        self._segment = len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._stop_parsing(error, data)
        except httptools.HttpParserUpgrade as upgrade:
            self._parse_without_upgrade(data[upgrade.args[0] :])
        else:
            if self._stage is HEAD:
                self._count_head()
            elif stage is BODY and self._stage is BODY and self._framing.too_much_after(len(data), content):
                self._refuse(too_much_framing())

    def pause_writing(self) -> None:
        self._flow.pause_writing()

    def resume_writing(self) -> None:
        self._flow.resume_writing()

    # The parser's callbacks. What they raise ends the parsing: see _stop_parsing.

    def on_message_begin(self) -> None:
        if self._stage is not HEAD:
            raise malformed_request("a request was sent before the last one was answered")
        self._url = b""
        self._headers, self._watched = [], []
        self._of_page = self.gone = self.stalled = False
        self._framing.begin()
        self.refusal = None

    def on_url(self, url: bytes) -> None:
        self._url += url
        if len(self._url) > self._limits.url:
            raise headers_too_large(f"a URL longer than {self._limits.url} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._stage is not HEAD:
            self._framing.trailer_came(self._limits.header_count)
            return  # a trailer must add nothing to a request that already runs
        name = name.lower()
        self._headers.append((name, value))
        if len(self._headers) > self._limits.header_count:
            raise headers_too_large(f"more than {self._limits.header_count} headers")
        if name in WATCHED:
            self._watched.append((name, value))
            if name == b"origin":
                self._of_page = True

    def on_headers_complete(self) -> None:
        method, version = self._parser.get_method(), self._parser.get_http_version()
        check_request_line(method, version, self._url)
        if self._head_raw + self._segment > self._limits.headers:
            self._check_head_size()  # the body's first bytes may be among these, so this takes a closer look
        path = self._url.partition(b"?")[0]
        expects_continue = check_headers(version, self._watched, hostless=lambda: self._state.hostless(path))
        if self._parser.should_upgrade():
            check_upgrade(self._watched)
            if self._offer_dropped:
                raise malformed_request("it insists on another protocol")
            self._ignoring_upgrade = True
            return
        self._offer_dropped = False
        if self._one_too_many:
            raise gateway_overloaded()
        self._watchdog.rest()
        self._head_began = False
        self._stage = BODY
        self._serve(method, version, expects_continue=expects_continue)

    def on_chunk_header(self) -> None:
        self._framing.chunk_came()

    def on_body(self, body: bytes) -> None:
        assert self._cycle is not None
        self._framing.content_came(len(body))
        self._cycle.feed(body)

    def on_message_complete(self) -> None:
        if self._ignoring_upgrade:
            return
        assert self._cycle is not None
        self._stage = ANSWER
        self._cycle.feed_end()

    # The application's call

    def _serve(self, method: bytes, version: str, *, expects_continue: bool) -> None:
        scope = request_scope(self._scope, method, self._url, version, self._headers)
        self._cycle = cycle = RequestCycle(
            self.transport,
            self._flow,
            self._state,
            self._answered,
            head_only=method == b"HEAD",
            chunks=version == "1.1",
            expects_continue=expects_continue,
            keep_alive=version == "1.1" and self._parser.should_keep_alive(),
        )
        if self._of_page:
            cycle.cors = self._cors_headers()
        task = self._loop.create_task(self._state.app(scope, cycle.receive, cycle.send), name=REQUEST)
        self._state.tasks.add(task)
        task.add_done_callback(partial(self._application_ended, cycle))

    def _answered(self) -> None:
        """The answer's last byte has been written."""
        self.on_gone = None
        if self._stage is CLOSING or self.transport.is_closing():
            return
        if self._stage is not ANSWER or self._cycle is None or not self._cycle.keep_alive:
            self._close()  # if the body is not complete, the rest of it will not be read
            return
        self._flow.resume_reading()
        self._stage, self._head_raw, self._headers = HEAD, 0, []
        self._watchdog.watch(self._loop.time() + self._limits.keep_alive)

    def _application_ended(self, cycle: RequestCycle, task: asyncio.Task[None]) -> None:
        """The last resort, should the application have failed to answer."""
        self._state.tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log.error("the application crashed", exc_info=error)
        if cycle.complete or cycle.disconnected:
            return
        if error is None:
            _log.error("the application ended before its answer was complete")
        if cycle.started:
            cycle.flush()
        else:
            self._answer_in_place(internal_error(), request_id(self._headers), head_only=cycle.head_only)
        self._close()

    def _cors_headers(self) -> Headers:
        return self._state.headers_for([value for name, value in self._watched if name == b"origin"])

    # Guards

    def _parse_without_upgrade(self, rest: bytes) -> None:
        """Read the same request once more as if nothing had been offered: llhttp took its body for another protocol."""
        self._ignoring_upgrade, self._offer_dropped = False, True
        head = without_offer(self._parser.get_method(), self._url, self._parser.get_http_version(), self._headers)
        self._parser = httptools.HttpRequestParser(self)
        self.data_received(head + rest)

    def _count_head(self) -> None:
        """A segment ended in the midst of a head."""
        self._head_raw += self._segment
        if self._head_raw > self._limits.headers:
            self._refuse(self._head_too_large())
        elif not self._head_began:
            self._head_began = True
            self._watchdog.watch(self._loop.time() + self._limits.head_timeout)

    def _check_head_size(self) -> None:
        if len(self._url) + sum(len(name) + len(value) + 4 for name, value in self._headers) > self._limits.headers:
            raise self._head_too_large()

    def _head_too_large(self) -> GatewayError:
        return headers_too_large(f"more than {self._limits.headers} bytes of headers")

    def _client_did_not_wait(self) -> None:
        """More came while an answer is still owed. Pipelining is refused: it is where smuggled requests hide."""
        self._still_sending = True
        self.close_after_answer()

    def _waited_too_long(self) -> None:
        if self._stage is HEAD:
            if self._head_began:
                self._refuse(request_timeout("The request's headers"))
            else:
                self._close()
        elif self._stage is CLOSING:
            unsent = unsent_bytes(self.transport)
            if unsent and unsent != self._unsent:
                self._unsent = unsent
                self._watchdog.watch(self._loop.time() + self._limits.write_stall)
            else:
                self.transport.abort()

    def _stalled(self) -> None:
        self.stalled = True
        self.transport.abort()

    # Ends

    def _stop_parsing(self, error: httptools.HttpParserError, data: bytes) -> None:
        """The parser gave up, by itself or because one of its callbacks raised a GatewayError."""
        cause = error.__context__
        if self._stage is ANSWER:
            self._client_did_not_wait()
        elif isinstance(cause, GatewayError):
            self._refuse(cause)
        elif cause is not None:
            raise cause
        elif self._stage is HEAD and begins_as_header(data):
            self._refuse(malformed_request("it begins with a PROXY header, unsound or from none of 'trusted_proxies'"))
        else:
            self._refuse(malformed_request(str(error).lower()))

    def _refuse(self, error: GatewayError) -> None:
        """Answer in the application's place, then close. An application that already runs sees its client leave."""
        identifier = request_id(self._headers)
        self._still_sending = True  # for all that is known
        cycle = self._cycle
        if self._stage is BODY and cycle is not None:
            # The application tells of it, as it does of every request it has begun with.
            self.refusal = (error.with_traceback(None), identifier)
            cycle.disconnect()
            self._client_left()
            if cycle.started:
                self.transport.abort()
                return
        else:
            self._tell_refused(error, identifier)
        self._answer_in_place(error, identifier, head_only=self._parser.get_method() == b"HEAD")
        self._close()

    def _tell_refused(self, error: GatewayError, identifier: str) -> None:
        came = {**self._scope, "raw_path": self._url.partition(b"?")[0], "headers": self._headers}
        self._state.on_refused(error, identifier, came)

    def _answer_in_place(self, error: GatewayError, identifier: str, *, head_only: bool = False) -> None:
        body = error.body()
        headers = [*error_headers(error, identifier), (b"content-length", b"%d" % len(body)), *self._cors_headers()]
        head = response_head(error.status, self._state.date, headers, close=True)
        self.transport.write(head if head_only else head + body)

    def _client_left(self) -> None:
        self.gone, tell, self.on_gone = True, self.on_gone, None
        if tell is not None:
            tell()

    def _close(self) -> None:
        """Close once all is sent. While the client may still be sending, only our half: RFC 9112 §9.6."""
        if self._stage is CLOSING:
            return
        lingering = self._still_sending or self._stage is BODY
        self._stage = CLOSING
        self._unsent = 0
        self._watchdog.watch(self._loop.time() + self._limits.linger)
        if lingering and self.transport.can_write_eof():
            self._flow.resume_reading()
            self.transport.write_eof()
        else:
            self.transport.close()
