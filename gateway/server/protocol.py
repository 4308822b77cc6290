"""uvicorn's HTTP/1.1 protocol with the guards it lacks.

uvicorn 0.54 with httptools has no limit on a head's size or time, takes any number of Host headers, queues pipelined
requests, and answers its own errors in plain text. Here a connection goes through four stages, a request at a time:

    HEAD ──head complete──▶ BODY ──body complete──▶ ANSWER ──answer complete──▶ HEAD …
      └────────refused────────┴──answered too early─▶ CLOSING ◀── the connection shall not go on

llhttp, behind httptools, refuses bare LF, obs-fold, control characters, spaces before colons, repeated or signed
Content-Length, Content-Length with Transfer-Encoding and malformed chunks; http_head.py refuses what it lets pass.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, cast
from urllib.parse import unquote

import httptools
from uvicorn._types import HTTPScope
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from gateway.core.errors import GatewayError, gateway_overloaded
from gateway.runtime.interruption import Watchdog
from gateway.server.connection import EXTENSION
from gateway.server.cycle import Cycle, Writer
from gateway.server.headers import (
    Header,
    error_headers,
    headers_too_large,
    malformed_request,
    request_id,
    request_timeout,
)
from gateway.server.limits import ServerLimits
from gateway.server.request_head import WATCHED, check_headers, check_request_line, check_upgrade, without_offer
from gateway.server.unsent import unsent_bytes


class Stage(Enum):
    HEAD = "head"
    BODY = "body"
    ANSWER = "answer"
    CLOSING = "closing"


HEAD, BODY, ANSWER, CLOSING = Stage


class GuardedProtocol(HttpToolsProtocol):
    """One client connection; it is the ``Connection`` in the scope of each of its requests.

    ``on_refused``: told of every answer given here, in the application's place, with its request id.
    ``on_closed``: called when the connection is gone.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: ServerLimits,
        on_refused: Callable[[GatewayError, str], None] | None = None,
        on_closed: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits
        self._on_refused = on_refused
        self._on_closed = on_closed
        self._watchdog = Watchdog(self.loop, self._waited_too_long)
        self._stall_timer: asyncio.TimerHandle | None = None
        self._stage = HEAD
        self._head_began = False
        self._head_raw = 0  # bytes of a head that has not ended yet, by segments
        self._segment = 0  # bytes of the segment being parsed
        self._watched: list[tuple[bytes, bytes]] = []
        self._content = 0  # bytes of the present body
        self._framing = 0  # bytes that came since the body's last byte of content
        self._ignoring_upgrade = False
        self._offer_dropped = False  # the head is being read once more, without its offer
        self._still_sending = False
        self._unsent = 0
        self.gone = False
        self.stalled = False
        self.on_gone: Callable[[], None] | None = None

    # What the front door may ask of a connection (connection.py)

    @property
    def request_complete(self) -> bool:
        return self._stage is ANSWER

    def close_after_answer(self) -> None:
        if not self.gone:
            self.cycle.keep_alive = False

    def abort(self) -> None:
        self.transport.abort()

    async def answer(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        if not self.gone:
            await cast("Cycle", self.cycle).answer(status, headers, body)

    def piece(self, data: bytes) -> bool:
        return not self.gone and cast("Cycle", self.cycle).piece(data)

    def hold_head(self) -> None:
        if not self.gone:
            self._writer.hold()

    # The transport's callbacks

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._one_too_many = len(self.connections) > self._limits.connections
        self._writer = Writer(transport, self._close)
        self._scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": "",
            "extensions": {EXTENSION: self},
        }
        self._watchdog.watch(self.loop.time() + self._limits.head_timeout)
        if len(self.connections) > self._limits.connections + self._limits.refusals:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stage = CLOSING
        self._watchdog.stop()
        if self._stall_timer is not None:
            self._stall_timer.cancel()
        self._client_left()
        # Nothing may keep a dead connection in memory until the garbage collector comes by.
        self.scope = self.cycle = None  # type: ignore[assignment]
        del self._watchdog, self._writer, self._scope
        if self._on_closed is not None:
            self._on_closed()

    def data_received(self, data: bytes) -> None:
        stage = self._stage
        if stage is CLOSING:
            return
        if stage is ANSWER:
            self._client_did_not_wait()
            return
        content = self._content
        self._segment = len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._stop_parsing(error)
        except httptools.HttpParserUpgrade as upgrade:
            self._parse_without_upgrade(data[upgrade.args[0] :])
        else:
            if self._stage is HEAD:
                self._count_head()
            elif stage is BODY and self._stage is BODY:
                self._framing = self._framing + self._segment if self._content == content else 0
                if self._framing > self._limits.headers:
                    self._refuse(malformed_request("its chunks have more framing than content"))

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unsent = unsent_bytes(self.transport)
        self._stall_timer = self.loop.call_later(self._limits.write_stall, self._check_stall)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    # The parser's callbacks. What they raise ends the parsing: see _stop_parsing.

    def on_message_begin(self) -> None:
        if self._stage is not HEAD:
            raise malformed_request("a request was sent before the last one was answered")
        self.url = b""
        self.headers = []
        self._watched = []
        self._content = self._framing = 0
        self.gone = self.stalled = False

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > self._limits.url:
            raise headers_too_large(f"a URL longer than {self._limits.url} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self.headers.append((name, value))
        if name in WATCHED:
            self._watched.append((name, value))

    def on_headers_complete(self) -> None:
        version = self.parser.get_http_version()
        check_request_line(self.parser.get_method(), version, self.url)
        if self._head_raw + self._segment > self._limits.headers:
            self._check_head_size()  # the body's first bytes may be among these, so this takes a closer look
        if len(self.headers) > self._limits.header_count:
            raise headers_too_large(f"more than {self._limits.header_count} headers")
        self.expect_100_continue = check_headers(version, self._watched)
        if self.parser.should_upgrade():
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
        path, _, query = self.url.partition(b"?")
        decoded = path.decode("ascii")  # llhttp lets nothing else pass
        scope = self._scope.copy()
        scope["method"] = self.parser.get_method().decode("ascii")
        scope["path"] = unquote(decoded) if "%" in decoded else decoded
        scope["raw_path"] = path
        scope["query_string"] = query
        scope["headers"] = self.headers
        self.headers = []  # for trailers, which must add nothing to a request that already runs
        if version != "1.1":
            scope["http_version"] = version
        self.scope = cast("HTTPScope", scope)
        self.cycle = Cycle(
            scope=self.scope,
            transport=cast("asyncio.Transport", self._writer),
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version == "1.1" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        self._start_asgi_task(self.cycle, self.app)

    def on_body(self, body: bytes) -> None:
        self._content += len(body)
        self.cycle.body += body
        if len(self.cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        self.cycle.message_event.set()

    def on_message_complete(self) -> None:
        if self._ignoring_upgrade:
            return
        self._stage = ANSWER
        self.cycle.more_body = False
        self.cycle.message_event.set()

    # The answer's end

    def on_response_complete(self) -> None:
        if not self.gone:
            self._writer.flush()
        self.server_state.total_requests += 1
        self.on_gone = None
        if self._stage is CLOSING or self.transport.is_closing():
            return
        if self._stage is not ANSWER:
            self._close()  # the rest of the body will not be read
            return
        self.flow.resume_reading()
        self._stage = HEAD
        self._head_raw = 0
        self._watchdog.watch(self.loop.time() + self._limits.keep_alive)

    # Guards

    def _parse_without_upgrade(self, rest: bytes) -> None:
        """Read the same request once more as if nothing had been offered: llhttp took its body for another protocol."""
        self._ignoring_upgrade, self._offer_dropped = False, True
        head = without_offer(self.parser.get_method(), self.url, self.parser.get_http_version(), self.headers)
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(head + rest)

    def _count_head(self) -> None:
        """A segment ended in the midst of a head."""
        self._head_raw += self._segment
        if self._head_raw > self._limits.headers:
            self._refuse(self._head_too_large())
        elif not self._head_began:
            self._head_began = True
            self._watchdog.watch(self.loop.time() + self._limits.head_timeout)

    def _check_head_size(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self._limits.headers:
            raise self._head_too_large()

    def _head_too_large(self) -> GatewayError:
        return headers_too_large(f"more than {self._limits.headers} bytes of headers")

    def _client_did_not_wait(self) -> None:
        """More came while an answer is still owed. Pipelining is refused: it is where smuggled requests hide."""
        self._still_sending = True
        self.cycle.keep_alive = False

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

    def _check_stall(self) -> None:
        unsent = unsent_bytes(self.transport)
        if unsent < self._unsent:
            self._unsent = unsent
            self._stall_timer = self.loop.call_later(self._limits.write_stall, self._check_stall)
        else:
            self._stall_timer = None
            self.stalled = True
            self.transport.abort()

    # Ends

    def _stop_parsing(self, error: httptools.HttpParserError) -> None:
        """The parser gave up, by itself or because one of its callbacks raised a GatewayError."""
        cause = error.__context__
        if self._stage is ANSWER:
            self._client_did_not_wait()
        elif isinstance(cause, GatewayError):
            self._refuse(cause)
        elif cause is not None:
            raise cause
        else:
            self._refuse(malformed_request(str(error).lower()))

    def _refuse(self, error: GatewayError) -> None:
        """Answer in the application's place, then close. An application that already runs sees its client leave."""
        identifier = request_id(self.scope["headers"] if self._stage is BODY else self.headers or ())
        self._still_sending = True  # for all we know
        if self._stage is BODY:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self._client_left()
            if self.cycle.response_started:
                self.transport.abort()
                return
        body = error.body()
        lines = [STATUS_LINE[error.status]]
        labels = self.server_state.default_headers + error_headers(error, identifier)
        lines.extend(b"%s: %s\r\n" % pair for pair in labels)
        lines.append(b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body))
        lines.append(body)
        self.transport.write(b"".join(lines))
        self._close()
        if self._on_refused is not None:
            self._on_refused(error, identifier)

    def _client_left(self) -> None:
        self.gone = True
        tell, self.on_gone = self.on_gone, None
        if tell is not None:
            tell()

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
