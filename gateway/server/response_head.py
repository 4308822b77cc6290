"""The head of an answer as bytes: status line, Date, headers. Pure."""

from __future__ import annotations

from http import HTTPStatus

from gateway.core.headers import Headers


def _status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode("ascii")


_STATUS_LINES = {status: _status_line(status) for status in range(200, 600)}


def response_head(status: int, date: bytes, headers: Headers, *, close: bool = False, chunked: bool = False) -> bytes:
    """The head, its empty line included.

    ``date``: the whole line of the Date header. ``close``: whether to say that the connection closes. ``chunked``:
    whether the body goes out in chunks. Raise ValueError for a final status that HTTP does not have, and for a header
    that would end its line or be cut at a NUL: it could make a second header, or a second answer.
    """
    line = _STATUS_LINES.get(status)
    if line is None:
        raise ValueError(f"{status} is no final status")
    parts = [line, date]
    for name, value in headers:
        parts += (name, b": ", value, b"\r\n")
    lines = 3 + len(headers)
    if close:
        parts.append(b"connection: close\r\n")
        lines += 1
    if chunked:
        parts.append(b"transfer-encoding: chunked\r\n")
        lines += 1
    parts.append(b"\r\n")
    head = b"".join(parts)
    if head.count(b"\n") != lines or head.count(b"\r") != lines or b"\0" in head:
        raise ValueError("a header holds a line end or a NUL")
    return head
