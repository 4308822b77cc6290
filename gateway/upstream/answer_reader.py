"""The reader of one answer after the other from an HTTP/1.1 connection: bytes in; status, headers and body out.

It receives the callbacks of ``httptools`` and knows nothing of sockets.
"""

from __future__ import annotations

import re
from functools import partial

import httptools

from gateway.upstream.received_body import ReceivedBody
from gateway.wire.answer_head import Head

FED_AT_ONCE = 16 * 1024
MOST_CHUNKS = 512
"""Bytes that the parser is given at a time, and the chunks of a body among them from which on the rest waits."""


_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked *\r\n", re.IGNORECASE)
"""Nothing but "chunked" was asked for (RFC 9112, section 7), and here the parser must not be left to guess: behind any
other value, a tab at the end included, it takes the chunks' framing for the body."""


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

    ``head``: None until the final head is here. ``complete``: the body is here, too.
    ``in_step``: another answer may follow on the connection. ``body``: what was not taken of it yet.
    ``between_chunks``: what comes next begins a chunk of the body, or ends it.
    """

    __slots__ = (
        "_chunked",
        "_framing_bytes",
        "_head_limit",
        "_head_only",
        "_head_pieces",
        "_head_room",
        "_head_start",
        "_keep_alive",
        "_open_chunks",
        "_parser",
        "_spoiled",
        "between_chunks",
        "body",
        "complete",
        "head",
        "on_body",
        "on_chunk_complete",
        "on_chunk_header",
    )

    def __init__(self, head_limit: int) -> None:
        self._head_limit = head_limit
        self._head_pieces: list[bytes] = []
        self.body = ReceivedBody()
        self.on_body = self.body.add
        self._open_chunks: list[None] = []  # one at most, which the parser notes without a call of ours
        self.on_chunk_header, self.on_chunk_complete = partial(self._open_chunks.append, None), self._open_chunks.clear
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self.begin(head_only=False)

    def begin(self, *, head_only: bool) -> None:
        """A request is sent, and its answer comes next.

        ``head_only``: the request is a HEAD.
        """
        self._head_only = head_only
        self._head_room = self._head_limit
        self._head_pieces.clear()
        self._head_start = 0  # in these pieces, behind heads of 1xx
        self.head: Head | None = None
        self._framing_bytes = 0
        self.complete = False
        self._chunked = self.between_chunks = False
        self._keep_alive = False
        self._spoiled = False  # bytes came that were not asked for

    @property
    def in_step(self) -> bool:
        return self.complete and self._keep_alive and not self._spoiled

    @property
    def until_close(self) -> bool:
        """Whether the head did not say where the body ends, so that the peer's closing does."""
        head = self.head
        return head is not None and not (head.count(b"content-length") or head.count(b"transfer-encoding"))

    def whole_chunk(self, data: bytes) -> bytes:
        """Take the bytes that came, if they are exactly one chunk of less than 4 KiB, written as most servers write it.
        Returns its content; empty if they are anything else: then ``feed`` them.

        Of a stream nearly every piece is one, and reading it so is cheaper than parsing it and gathering what comes.
        """
        if not self.between_chunks:
            return b""
        room = len(data) - 4  # for the size's digits and the content, without the line ends behind both
        size = room - (1 if room < 0x11 else 2 if room < 0x102 else 3)
        if size <= 0:
            return b""
        head = b"%x\r\n" % size
        if len(head) + size + 2 != len(data) or not data.startswith(head) or not data.endswith(b"\r\n"):
            return b""
        self._framing_bytes = 0
        return data[len(head) : -2]

    def feed(self, data: bytes) -> bytes:
        """Take bytes that came. Returns those that are to be fed in the loop's next turn: chunks that are very small
        take long. Raises BadAnswer; nothing may be fed after that.
        """
        size = len(data)
        self.between_chunks = False
        if self.head is None:
            if size > self._head_room:
                return self._parse_edge(data)
            self._head_room -= size
            self._head_pieces.append(data)
        elif size > FED_AT_ONCE:
            return self._parse_slices(data)
        self._parse(data)
        self._look_where_chunks_end(data)
        return b""

    def close(self) -> None:
        """Break the reference cycle with the parser; nothing may be fed any more."""
        self._parser = None

    # What the parser calls, inside feed_data; ``on_body`` is the body's ``add``

    def on_message_begin(self) -> None:
        if self.complete:
            raise _Refused("a second answer to one request")

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        status = self._parser.get_status_code()
        came, start = b"".join(self._head_pieces), self._head_start
        self._head_pieces.clear()
        while came[start] in b"\r\n":  # the parser skips these
            start += 1
        end = came.index(b"\r\n\r\n", start) + 2
        head = Head(status, lines=came[start:end])
        # A content-length beside it, or a second one, the parser refuses itself.
        encodings = head.count(b"transfer-encoding")
        if encodings and (encodings > 1 or not _CHUNKED.search(came, start, end)):
            raise _Refused("a transfer-encoding other than one 'chunked'")
        if status < 200:
            if status < 100 or status == 101:
                raise _Refused(f"status {status}, which was not asked for")
            self._head_pieces.append(came)
            self._head_start = end + 2
            return
        self.head = head
        self._chunked = bool(encodings)
        # The parser knows of 204 and 304 that no body follows. Of a HEAD it does not, and waits for one: the answer is
        # complete, but unless it is empty by its own word the connection cannot be kept.
        self.complete = self._head_only

    def on_message_complete(self) -> None:
        if self.head is not None:  # a 1xx ends here as well
            assert self._parser is not None
            self.complete = True
            self._keep_alive = self._parser.should_keep_alive()

    # Inside

    def _parse(self, data: bytes) -> int:
        """Let the parser read. Returns in how many pieces it found a body."""
        parser, in_body = self._parser, self.head is not None
        if parser is None:
            return 0
        detail = ""
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            # No name for the exception but this clause's own, and none raised within it: another would tie frame and
            # traceback in a cycle.
            detail = str(error.__context__ if isinstance(error.__context__, _Refused) else error) or "unreadable"
        if pieces := self.body.gather():
            self._framing_bytes = 0
            if self._head_only:
                self._spoiled = True  # a body where none may be
                self.body.clear()
        if detail:
            if not self.complete:
                raise BadAnswer("bad_http", detail)
            self._spoiled = True
        if in_body and not pieces and not self.complete:
            self._count_framing(len(data))
        return pieces

    def _look_where_chunks_end(self, data: bytes) -> None:
        """After bytes were parsed: whether they ended a chunk."""
        self.between_chunks = self._chunked and not self._open_chunks and not self.complete and data.endswith(b"\r\n")

    def _parse_slices(self, data: bytes) -> bytes:
        while len(data) > FED_AT_ONCE:
            pieces = self._parse(data[:FED_AT_ONCE])
            data = data[FED_AT_ONCE:]
            if pieces > MOST_CHUNKS:
                return data
        self._parse(data)
        return b""

    def _parse_edge(self, data: bytes) -> bytes:
        """Parse bytes that exceed the head's limit: the part within it must end the head."""
        room = self._head_room
        self._head_room = 0
        self._head_pieces.append(data[:room])
        self._parse(data[:room])
        if self.head is None:
            raise BadAnswer("head_too_big", f"the answer's head is longer than {self._head_limit} bytes")
        return self._parse_slices(data[room:])

    def _count_framing(self, size: int) -> None:
        """Bound the bytes that are not content: chunk extensions and trailers."""
        self._framing_bytes += size
        if self._framing_bytes > self._head_limit:
            raise BadAnswer("bad_http", f"more than {self._head_limit} bytes of chunk extensions or trailers")
