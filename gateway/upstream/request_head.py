"""The writing of a request's head, refusing text that could smuggle a second request into it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

_TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""The characters of a header's name (RFC 9110, section 5.6.2)."""

_NOT_CONTROL = bytes(byte for byte in range(256) if byte == 0x09 or (byte >= 0x20 and byte != 0x7F))

_OURS = frozenset({b"host", b"content-length", b"transfer-encoding"})
"""Headers that say where a message goes and where it ends: written here, never taken from a caller."""

_BODYLESS_METHODS = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
_DEFAULT_PORTS = {"http": 80, "https": 443}


def host_header(scheme: Literal["http", "https"], host: str, port: int) -> bytes:
    """The Host header's value: the port only where it is not the scheme's own, an IPv6 address in brackets.

    Raises UnicodeError (a ValueError) for a name that is no host name.
    """
    if ":" in host:
        name = b"[" + host.partition("%")[0].encode("ascii") + b"]"
    else:
        name = host.encode("ascii" if host.isascii() else "idna")
    return name if port == _DEFAULT_PORTS[scheme] else b"%b:%d" % (name, port)


def request_head(
    method: str, target: str, host: bytes, headers: Sequence[tuple[bytes, bytes]], body_length: int
) -> bytes:
    """The head as it goes on the wire, up to and including its empty line.

    ``target``: path and query, beginning with ``/``.
    ``headers``: everything but Host and the framing headers.

    ``content-length`` is left out only where there is no body and the method does not call for one.
    Raises ValueError for anything that could end a line or a message early: control characters (CR, LF and NUL among
    them), a blank in the target, a name that is no token, a header that only this function may write.
    """
    head = _head_without_length(method, target, host, tuple(headers))
    if body_length or method not in _BODYLESS_METHODS:
        return b"%bcontent-length: %d\r\n\r\n" % (head, body_length)
    return head + b"\r\n"


@lru_cache(maxsize=64)
def _head_without_length(method: str, target: str, host: bytes, headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """The head's checked lines. Those of one endpoint and key are the same for every chat."""
    if not (method.isascii() and method.isalpha() and method.isupper()):
        raise ValueError("the method is not an HTTP method")
    if target[:1] != "/" or " " in target or "\t" in target:
        raise ValueError("the target must begin with '/' and hold no blank")
    lines = [f"{method} {target} HTTP/1.1\r\nhost: ".encode("ascii") + host]
    for name, value in headers:
        if not name or name.lower() in _OURS:
            raise ValueError(f"the header {name!r} is empty or not the caller's to write")
        lines.append(b"%b: %b" % (name, value))
    if b"".join([name for name, _ in headers]).translate(None, _TOKEN):
        raise ValueError("a header's name holds a character that none may hold")
    head = b"\r\n".join(lines) + b"\r\n"
    # One look at the whole: its only control characters are the line ends written above (two for the first entry,
    # which is two lines, one for each of the others).
    if head.translate(None, _NOT_CONTROL) != b"\r\n" * (len(lines) + 1):
        raise ValueError("the method, target or a header holds a control character")
    return head
