"""HTTP/1.1: a strict reader of requests, and the pieces of answers, of which every byte is chosen.

The reader takes exactly what RFC 9112 allows a client to send; anything else is ``BadRequest``, so that a sloppy
client shows up in a test. The writer enforces nothing: playing faults needs wrong bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from urllib.parse import unquote

HEAD_LIMIT = 64 * 1024
BODY_LIMIT = 64 * 1024 * 1024

Headers = tuple[tuple[bytes, bytes], ...]

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_TARGET = re.compile(rb"/[\x21-\x7e]*")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})(?:;[\t\x20-\x7e]*)?")
_LENGTH = re.compile(rb"[0-9]{1,12}")


class BadRequest(Exception):
    """A request that breaks HTTP; its connection is answered 400 and closed."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. Header names are lower case; ``headers`` and ``body`` stay out of repr, they hold keys."""

    method: str
    target: str
    headers: Headers = field(repr=False)
    body: bytes = field(default=b"", repr=False)

    @property
    def path(self) -> str:
        return unquote(self.target.partition("?")[0])

    def get(self, name: bytes) -> bytes | None:
        """The first value of a header, or None."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    @property
    def key(self) -> str | None:
        """The API key: ``Authorization: Bearer`` on OpenAI-shaped routes, ``x-api-key`` on PiAPI's own."""
        scheme, _, token = (self.get(b"authorization") or b"").partition(b" ")
        if scheme.lower() == b"bearer" and token.strip():
            return token.strip().decode("latin-1")
        own = self.get(b"x-api-key")
        return own.decode("latin-1") if own else None


def parse_head(head: bytes) -> Request:
    """``head`` without its closing empty line → a request without its body. Raises BadRequest."""
    lines = head.split(b"\r\n")
    if b"\n" in head.replace(b"\r\n", b"") or any(b"\r" in line for line in lines):
        raise BadRequest("a bare CR or LF in the head")
    parts = lines[0].split(b" ")
    if len(parts) != 3 or not _TOKEN.fullmatch(parts[0]) or not _TARGET.fullmatch(parts[1]) or parts[2] != b"HTTP/1.1":
        raise BadRequest("not an HTTP/1.1 request line")
    headers = tuple(_parse_field(line) for line in lines[1:])
    if sum(name == b"host" for name, _ in headers) != 1:
        raise BadRequest("exactly one Host is needed (RFC 9112 §3.2)")
    return Request(parts[0].decode(), parts[1].decode(), headers)


def _parse_field(line: bytes) -> tuple[bytes, bytes]:
    name, colon, value = line.partition(b":")
    value = value.strip(b" \t")
    if not colon or not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
        raise BadRequest("a malformed header field")
    return name.lower(), value


def body_length(request: Request) -> int | None:
    """The body's length in bytes, or None for a chunked one. Raises BadRequest where the two disagree."""
    lengths = [value for name, value in request.headers if name == b"content-length"]
    codings = [value for name, value in request.headers if name == b"transfer-encoding"]
    if codings:
        if lengths or codings != [b"chunked"]:
            raise BadRequest("Transfer-Encoding other than one 'chunked', or beside Content-Length (RFC 9112 §6.3)")
        return None
    if not lengths:
        return 0
    if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]) or int(lengths[0]) > BODY_LIMIT:
        raise BadRequest("a malformed, repeated or huge Content-Length")
    return int(lengths[0])


class RequestReader:
    """A reader of the requests on one connection.

    Bytes go in by ``feed``; ``head()`` and then ``body()`` give the request, None until they are complete.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._request: Request | None = None
        self._length: int | None = 0
        self._chunks = bytearray()
        self._wanted: int | None = None

    def feed(self, data: bytes) -> None:
        self._buffer += data

    @property
    def buffered(self) -> int:
        return len(self._buffer)

    def head(self) -> Request | None:
        """The next request, still without its body. Raises BadRequest."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > HEAD_LIMIT:
                raise BadRequest("the head is too big")
            return None
        self._request = parse_head(bytes(self._buffer[:end]))
        self._length = body_length(self._request)
        del self._buffer[: end + 4]
        return self._request

    def body(self) -> Request | None:
        """The request with its body. Raises BadRequest."""
        if self._request is None:
            return None
        body = self._chunked_body() if self._length is None else self._take(self._length)
        if body is None:
            return None
        request, self._request = self._request, None
        return replace(request, body=body) if body else request

    def _take(self, count: int) -> bytes | None:
        if len(self._buffer) < count:
            return None
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def _chunked_body(self) -> bytes | None:
        while True:
            if self._wanted is None:
                end = self._buffer.find(b"\r\n")
                if end < 0:
                    return None
                size = _SIZE.fullmatch(bytes(self._buffer[:end]))
                if size is None:
                    raise BadRequest("a malformed chunk size")
                del self._buffer[: end + 2]
                self._wanted = int(size[1], 16)
                if len(self._chunks) + self._wanted > BODY_LIMIT:
                    raise BadRequest("the body is too big")
            data = self._take(self._wanted + 2)
            if data is None:
                return None
            if not data.endswith(b"\r\n"):
                raise BadRequest("a chunk without its CRLF, or a trailer")
            last, self._wanted = self._wanted == 0, None
            self._chunks += data[:-2]
            if last:
                whole = bytes(self._chunks)
                self._chunks.clear()
                return whole


def response_head(status: int, headers: Headers) -> bytes:
    """A status line and header fields with their closing empty line."""
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = "Unknown"
    lines = [b"HTTP/1.1 %d %s" % (status, reason.encode()), *(b"%s: %s" % field for field in headers), b"", b""]
    return b"\r\n".join(lines)


def chunk(data: bytes) -> bytes:
    """One HTTP chunk; nothing for no data, because an empty chunk would end the body."""
    return b"%x\r\n%s\r\n" % (len(data), data) if data else b""


LAST_CHUNK = b"0\r\n\r\n"
