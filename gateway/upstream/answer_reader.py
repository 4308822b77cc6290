"""The reader of one answer after the other from an HTTP/1.1 connection: bytes in; status, headers and body out.

It receives the callbacks of ``httptools`` and knows nothing of sockets.
"""

from __future__ import annotations

import httptools

from gateway.upstream.received_body import ReceivedBody

FED_AT_ONCE = 16 * 1024
MOST_CHUNKS = 512
"""Bytes that the parser is given at a time, and the chunks of a body among them from which on the rest waits."""


class BadAnswer(Exception):
    """What came must not be acted upon.

    ``slug``: ``bad_http`` or ``head_too_big``, of the fault catalogue.
    """

    def __init__(self, slug: str, detail: str) -> None:
        super().__init__(detail)
        self.slug = slug
        self.detail = detail


class _Refused(Exception):
    """Raised inside the parser's callbacks: the peer sent something that must not be acted upon."""


class AnswerReader:
    """The answers of one connection, one at a time.

    ``head_limit``: bytes of an answer's status line and headers, with those of 1xx.

    ``answered``: the final head is here, in ``status`` and ``headers``. ``complete``: so is the body.
    ``until_close``: the head did not say where the body ends, so the peer's closing does.
    ``in_step``: another answer may follow on the connection. ``body``: what was not taken of it yet.
    """

    __slots__ = (
        "_framed",
        "_framing_bytes",
        "_head_limit",
        "_head_only",
        "_head_room",
        "_keep_alive",
        "_parser",
        "_spoiled",
        "answered",
        "body",
        "complete",
        "headers",
        "status",
        "until_close",
    )

    def __init__(self, head_limit: int) -> None:
        self._head_limit = head_limit
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self.begin(head_only=False)

    def begin(self, *, head_only: bool) -> None:
        """A request is sent, and its answer comes next.

        ``head_only``: the request is a HEAD.
        """
        self._head_only = head_only
        self._head_room = self._head_limit
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = ReceivedBody()
        self._framing_bytes = 0
        self.answered = False
        self.complete = False
        self._framed = False  # the head said where the body ends
        self.until_close = False
        self._keep_alive = False
        self._spoiled = False  # bytes came that were not asked for

    @property
    def in_step(self) -> bool:
        return self.complete and self._keep_alive and not self._spoiled

    def feed(self, data: bytes) -> bytes:
        """Take bytes that came. Returns those that are to be fed in the loop's next turn: chunks that are very small
        take long. Raises BadAnswer; nothing may be fed after that.
        """
        size = len(data)
        if self.answered:
            return self._parse_body(data)
        if size <= self._head_room:
            self._head_room -= size
            self._parse(data)
            return b""
        return self._parse_edge(data)

    def close(self) -> None:
        """Break the reference cycle with the parser; nothing may be fed any more."""
        self._parser = None

    # What the parser calls, inside feed_data

    def on_message_begin(self) -> None:
        if self.complete:
            raise _Refused("a second answer to one request")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.answered:
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
        self.answered = True
        if self._head_only:
            # The parser knows of 204 and 304 that no body follows. Of this it does not, and waits for one: the answer
            # is complete, but unless it is empty by its own word the connection cannot be kept.
            self.complete = True
        else:
            self.until_close = not self._framed

    def on_body(self, piece: bytes) -> None:
        if self.complete:
            raise _Refused("a body where none may be")
        self.body.add(piece)

    def on_message_complete(self) -> None:
        if self.answered:  # a 1xx ends here as well
            assert self._parser is not None
            self.complete = True
            self._keep_alive = self._parser.should_keep_alive()

    # Inside

    def _parse(self, data: bytes) -> None:
        if self._parser is None:
            return
        detail = ""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if self.complete:
                self._spoiled = True
                return
            # No name for the exception but this clause's own, and none raised within it: another would tie frame and
            # traceback in a cycle.
            detail = str(error.__context__ if isinstance(error.__context__, _Refused) else error) or "unreadable"
        if detail:
            raise BadAnswer("bad_http", detail)

    def _parse_body(self, data: bytes) -> bytes:
        body = self.body
        while len(data) > FED_AT_ONCE:
            pieces = body.pieces
            self._parse_part(data[:FED_AT_ONCE])
            data = data[FED_AT_ONCE:]
            if body.pieces - pieces > MOST_CHUNKS:
                return data
        self._parse_part(data)
        return b""

    def _parse_part(self, data: bytes) -> None:
        waiting = self.body.size
        self._parse(data)
        if self.body.size > waiting:
            self._framing_bytes = 0
        else:
            self._count_framing(len(data))

    def _parse_edge(self, data: bytes) -> bytes:
        """Parse bytes that exceed the head's limit: the part within it must end the head."""
        room = self._head_room
        self._head_room = 0
        self._parse(data[:room])
        if not self.answered:
            raise BadAnswer("head_too_big", f"the answer's head is longer than {self._head_limit} bytes")
        return self._parse_body(data[room:])

    def _count_framing(self, size: int) -> None:
        """Bound the bytes that are not content: chunk extensions and trailers."""
        if self.complete:
            return
        self._framing_bytes += size
        if self._framing_bytes > self._head_limit:
            raise BadAnswer("bad_http", f"more than {self._head_limit} bytes of chunk extensions or trailers")
