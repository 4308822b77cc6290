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
import sys
from functools import partial
from typing import cast

import httptools

from gateway.core.errors import GatewayError, gateway_overloaded, internal_error
from gateway.core.headers import Headers
from gateway.runtime.interruption import Watchdog
from gateway.server.body_framing import BodyFraming, too_much_framing
from gateway.server.client import Client
from gateway.server.connection import Address, address_of
from gateway.server.connection_stage import ConnectionStage
from gateway.server.flow import FlowControl
from gateway.server.headers import error_headers, headers_too_large, malformed_request, request_id, request_timeout
from gateway.server.proxy_protocol import Source, begins_as_header
from gateway.server.request import Request
from gateway.server.request_head import check_head, check_upgrade, expects_continue, without_offer
from gateway.server.response_head import CLOSE, response_head
from gateway.server.slots import Seat
from gateway.server.state import ListenerState
from gateway.server.unsent import unsent_bytes
from gateway.server.usual_names import USUAL_NAMES

REQUEST = "request"
"""The name of the task in which the application answers a request."""

_log = logging.getLogger("gateway.server")

HEAD, BODY, ANSWER, CLOSING = ConnectionStage


class ServerProtocol(asyncio.Protocol):
    """One client's connection; it is the ``Connection`` of each of its requests.

    ``_request``: the present one, as far as it has come; ``_client``: its answer's way out, once its head is complete.
    Both are None between an answer and the next request. ``_parser`` (1 KiB) lives only while a request comes.
    """

    transport: asyncio.Transport
    flow: FlowControl
    _peer: Address
    _one_too_many: bool

    def __init__(self, loop: asyncio.AbstractEventLoop, state: ListenerState) -> None:
        self.loop = loop
        self.state = state
        self._limits = state.limits
        self.slots = state.slots
        self._parser: httptools.HttpRequestParser | None = None
        self._watchdog = Watchdog(loop, self._waited_too_long)
        self._request: Request | None = None
        self._client: Client | None = None
        self._stage = HEAD
        self._head_began = False
        self._head_raw = 0  # bytes of a head that has not ended yet, by segments
        self._segment = 0  # bytes of the segment being parsed
        self._fields: dict[bytes, bytes] | None = None  # those of the request, while its head is read
        self._room = 0  # for so many more headers
        self._framing: BodyFraming | None = None  # of a body in chunks
        self._ignoring_upgrade = self._still_sending = False
        self._offer_dropped = False  # the head is being read once more, without its offer
        self._unsent = 0

    # What the server's other parts may ask of a connection (connection.py)

    @property
    def idle(self) -> bool:
        return self._stage is HEAD and not self._head_began

    def close_after_answer(self) -> None:
        if self._client is not None:
            self._client.keep_alive = False

    def shutdown(self) -> None:
        if self._client is None:
            self.transport.close()
        else:
            self._client.keep_alive = False

    def abort(self) -> None:
        self.transport.abort()

    # The transport's callbacks. A client that closes its half of the connection has left: eof_received closes ours.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.flow = FlowControl(self.transport, self._limits.write_stall, self._stalled)
        self._peer = address_of(transport, "peername")
        self._watchdog.watch(self.loop.time() + self._limits.head_timeout)
        seat = self.slots.enter(self, self._peer, self._limits)
        self._one_too_many = seat is not Seat.GIVEN
        if seat is Seat.NONE:
            self.transport.abort()
            self._tell_refused(Request(self, self._peer), gateway_overloaded())

    def comes_from(self, client: Source) -> None:
        """A proxy that is believed said so, before the first request."""
        self._peer = client
        self.slots.renew(self, client)

    def connection_lost(self, exc: Exception | None) -> None:
        self.slots.leave(self)
        self._stage = CLOSING
        self._watchdog.stop()
        if self._client is not None:
            self._client.left()
        self.flow.lost()
        # These refer back to the connection, which must not stay in memory until the garbage collector comes by.
        self._parser = self._client = self._request = None
        self.state.closed.set()

    def data_received(self, data: bytes) -> None:
        stage = self._stage
        if stage is CLOSING:
            return
        if stage is ANSWER:
            self._client_did_not_wait()
            return
        framing = self._framing
        content = 0 if framing is None else framing.content
        self._segment = len(data)
        if (parser := self._parser) is None:
            parser = self._parser = httptools.HttpRequestParser(self)
        try:
            parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._stop_parsing(error, data)
        except httptools.HttpParserUpgrade as upgrade:
            self._parse_without_upgrade(data[upgrade.args[0] :])
        else:
            if self._stage is ANSWER:
                self._parser = None
            elif self._stage is HEAD:
                self._count_head()
            elif (
                framing is not None
                and stage is BODY
                and self._stage is BODY
                and framing.too_much_after(len(data), content)
            ):
                self._refuse(too_much_framing())

    def pause_writing(self) -> None:
        self.flow.pause_writing()

    def resume_writing(self) -> None:
        self.flow.resume_writing()

    # The parser's callbacks. What they raise ends the parsing: see _stop_parsing.

    def on_message_begin(self) -> None:
        if self._stage is not HEAD:
            raise malformed_request("a request was sent before the last one was answered")
        self._request = request = Request(self, self._peer)
        self._fields = request.fields
        self._room = self._limits.header_count
        self._framing = None

    def on_url(self, url: bytes) -> None:
        assert self._request is not None
        self._request.target += url
        if len(self._request.target) > self._limits.url:
            raise headers_too_large(f"a URL longer than {self._limits.url} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        fields = self._fields
        if fields is None:
            if self._framing is not None:
                self._framing.trailer_came(self._limits.header_count)
            return  # a trailer must add nothing to a request that already runs
        name = USUAL_NAMES.get(name) or name.lower()
        if name not in fields:
            fields[name] = value
        elif self._request is not None:
            self._request.repeated += ((name, value),)
        self._room -= 1
        if self._room < 0:
            raise headers_too_large(f"more than {self._limits.header_count} headers")

    def on_headers_complete(self) -> None:
        request, parser = self._request, self._parser
        assert request is not None
        assert parser is not None
        request.method = sys.intern(parser.get_method().decode("ascii"))
        request.version = sys.intern(parser.get_http_version())
        request.path = target = request.target
        if b"?" in target:
            request.path, _, request.query = target.partition(b"?")
        if self._head_raw + self._segment > self._limits.headers:
            self._check_head_size(request)  # the body's first bytes may be among these, so this takes a closer look
        check_head(request, self.state.hostless)
        fields = request.fields
        if b"upgrade" in fields and parser.should_upgrade():
            check_upgrade(request)
            if self._offer_dropped:
                raise malformed_request("it insists on another protocol")
            self._ignoring_upgrade = True
            return
        self._offer_dropped = False
        if self._one_too_many:
            raise gateway_overloaded()
        self._watchdog.rest()
        self._head_began = False
        self._stage, self._fields = BODY, None
        if b"expect" in fields:
            request.expects_continue = expects_continue(request)
        if b"transfer-encoding" in fields:
            self._framing = BodyFraming(self._limits.headers)
        self._serve(request, keep_alive=request.version == "1.1" and parser.should_keep_alive())

    def on_chunk_header(self) -> None:
        assert self._framing is not None
        self._framing.chunk_came()

    def on_body(self, body: bytes) -> None:
        if self._framing is not None:
            self._framing.content += len(body)
        assert self._request is not None
        self._request.feed(body)

    def on_message_complete(self) -> None:
        if self._ignoring_upgrade:
            return
        self._stage = ANSWER
        assert self._request is not None
        self._request.feed_end()

    # The application's call

    def _serve(self, request: Request, *, keep_alive: bool) -> None:
        request.id = request_id(request.fields.get(b"x-request-id"))
        request.began = self.loop.time()
        self._client = client = Client(request, keep_alive=keep_alive)
        if b"origin" in request.fields:
            client.cors = self._cors_headers(request)
        task = self.loop.create_task(self.state.app(request, client), name=REQUEST)
        self.state.tasks.add(task)
        task.add_done_callback(partial(self._application_ended, client))

    def answered(self) -> None:
        if self._stage is CLOSING or self.transport.is_closing():
            return
        client, self._client = self._client, None
        if self._stage is not ANSWER or client is None or not client.keep_alive:
            self._close()  # if the body is not complete, the rest of it will not be read
            return
        if self.flow.reading_paused:
            self.flow.resume_reading()
        self._stage, self._head_raw, self._request = HEAD, 0, None
        self._watchdog.watch(self.loop.time() + self._limits.keep_alive)

    def _application_ended(self, client: Client, task: asyncio.Task[None]) -> None:
        """The last resort, should the application have failed to answer."""
        self.state.tasks.discard(task)
        try:
            error = task.exception()
        except asyncio.CancelledError:
            error = None
        if error is not None:
            _log.error("the application crashed", exc_info=error)
        if client.finished or client.gone:
            return
        if error is None:
            _log.error("the application ended before its answer was complete")
        if not client.started:
            self._answer_in_place(client.request, internal_error(), head_only=client.request.method == "HEAD")
        self._close()

    def _cors_headers(self, request: Request) -> Headers:
        return self.state.headers_for(request.every(b"origin"))

    # Guards

    def _parse_without_upgrade(self, rest: bytes) -> None:
        """Read the same request once more as if nothing had been offered: llhttp took its body for another protocol."""
        self._ignoring_upgrade, self._offer_dropped = False, True
        assert self._request is not None
        head = without_offer(self._request)
        self._parser = httptools.HttpRequestParser(self)
        self.data_received(head + rest)

    def _count_head(self) -> None:
        """A segment ended in the midst of a head."""
        self._head_raw += self._segment
        if self._head_raw > self._limits.headers:
            self._refuse(self._head_too_large())
        elif not self._head_began:
            self._head_began = True
            self._watchdog.watch(self.loop.time() + self._limits.head_timeout)

    def _check_head_size(self, request: Request) -> None:
        size = sum(len(name) + len(value) + 4 for name, value in request.headers)
        if len(request.target) + size > self._limits.headers:
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
                self._watchdog.watch(self.loop.time() + self._limits.write_stall)
            else:
                self.transport.abort()

    def _stalled(self) -> None:
        if self._client is not None:
            self._client.left(stalled=True)
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
        request, client = self._request or Request(self, self._peer), self._client
        self._still_sending = True  # for all that is known
        if self._stage is BODY and client is not None:
            # The application tells of it, as it does of every request it has begun with.
            client.refusal = error.with_traceback(None)
            client.left()
            if client.started:
                self.transport.abort()
                return
        else:
            self._tell_refused(request, error)
        parser = self._parser
        self._answer_in_place(request, error, head_only=parser is not None and parser.get_method() == b"HEAD")
        self._close()

    def _tell_refused(self, request: Request, error: GatewayError) -> None:
        request.id = request_id(request.fields.get(b"x-request-id"))
        request.path = request.target.partition(b"?")[0]
        request.error, request.status = error, error.status
        self.state.on_refused(request)

    def _answer_in_place(self, request: Request, error: GatewayError, *, head_only: bool) -> None:
        body = error.body()
        headers = [*error_headers(error), *self._cors_headers(request)]
        framing = b"content-length: %d\r\n" % len(body) + CLOSE
        head = response_head(error.status, self.state.date, request.id, headers, framing=framing)
        self.transport.write(head if head_only else head + body)

    def _close(self) -> None:
        """Close once all is sent. While the client may still be sending, only our half: RFC 9112 §9.6."""
        if self._stage is CLOSING:
            return
        lingering = self._still_sending or self._stage is BODY
        self._stage = CLOSING
        self._unsent = 0
        self._watchdog.watch(self.loop.time() + self._limits.linger)
        if lingering and self.transport.can_write_eof():
            self.flow.resume_reading()
            self.transport.write_eof()
        else:
            self.transport.close()
