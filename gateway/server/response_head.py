"""The head of an answer as bytes: status line, Date, request id, headers. Pure."""

from __future__ import annotations

from http import HTTPStatus

from gateway.core.headers import Headers

JSON_TYPE = b"content-type: application/json\r\n"
CLOSE = b"connection: close\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"

NEVER = frozenset(
    (
        # hop-by-hop (RFC 9110 §7.6.1), and what describes the bytes between gateway and client
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"content-length",
        # the upstream's server, and what the gateway sets itself
        b"server",
        b"date",
        b"via",
        b"set-cookie",
        b"alt-svc",
        b"x-request-id",
    )
)
"""Headers that no answer takes over from what made it."""

EVENT_STREAM = b"text/event-stream"
_OF_EVENT_STREAMS = b"".join(
    b"%b: %b\r\n" % pair
    for pair in (
        (b"cache-control", b"no-cache, no-transform"),
        (b"x-accel-buffering", b"no"),  # nginx would hold events back
    )
)


def cookie_line(value: bytes) -> bytes:
    """The line that gives a cookie of our own. Raise ValueError for a value that would end its line."""
    if any(byte in value for byte in b"\r\n\0"):
        raise ValueError("a cookie must be one line")
    return b"set-cookie: %b\r\n" % value


def _status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode("ascii")


_STATUS_LINES = {status: _status_line(status) for status in range(200, 600)}


def response_head(
    status: int, date: bytes, identifier: str, headers: Headers, *, framing: bytes, default: bytes = JSON_TYPE
) -> bytes:
    """The head, its empty line included.

    ``date``: the whole line of the Date header. ``identifier``: the request's, which is ASCII of one word. ``headers``:
    names in lower case; what is in ``NEVER`` is left out. ``framing``: whole lines, which say how the body is framed,
    and whether the connection closes. ``default``: the line of the content type, if ``headers`` have none.

    Raise ValueError for a final status that HTTP does not have, and for a header that would end its line or be cut at a
    NUL: it could make a second header, or a second answer.
    """
    if status not in _STATUS_LINES:
        raise ValueError(f"{status} is no final status")
    lines, number = b"", 0
    for name, value in headers:
        if name in NEVER:
            continue
        lines += b"%b: %b\r\n" % (name, value)
        number += 1
        if name == b"content-type":
            default = _OF_EVENT_STREAMS if value.startswith(EVENT_STREAM) else b""
    if lines.count(b"\n") != number or lines.count(b"\r") != number or b"\0" in lines:
        raise ValueError("a header holds a line end or a NUL")
    return b"%b%bx-request-id: %b\r\n%b%b%b\r\n" % (
        _STATUS_LINES[status],
        date,
        identifier.encode("ascii"),
        lines,
        default,
        framing,
    )
