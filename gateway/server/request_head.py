"""The checks of a request's head, beyond those that llhttp already makes. Pure.

The rule behind all of it: a head that two readers might read differently is refused, since what a proxy in front of
the gateway took for a body could otherwise be a request here (request smuggling, RFC 9112 §11.2).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

from gateway.core.headers import Header
from gateway.server.headers import malformed_request

WATCHED = frozenset((b"host", b"content-length", b"transfer-encoding", b"expect", b"upgrade", b"origin"))
"""The headers that the checks here want to see, and the one that CORS does; names in lower case."""

_OF_THE_OFFER = frozenset((b"connection", b"upgrade", b"http2-settings"))
_HOST = re.compile(rb"(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


def check_request_line(method: bytes, version: str, target: bytes) -> None:
    """Raise 400 unless ``target`` is a path with perhaps a query (RFC 9112 §3.2.1), asked for in HTTP/1.0 or 1.1.

    llhttp takes a line without a version for HTTP/0.9, and lets absolute targets and fragments pass. CONNECT never
    goes with a path (RFC 9110 §9.3.6), and llhttp would take what follows it for another protocol.
    """
    if version not in ("1.1", "1.0"):
        raise malformed_request("its version is neither HTTP/1.1 nor HTTP/1.0")
    if method == b"CONNECT":
        raise malformed_request("it asks for a tunnel")
    if not target.startswith(b"/") or b"#" in target:
        raise malformed_request("its target is not a path")


def check_headers(version: str, watched: Iterable[Header], *, hostless: Callable[[], bool] = lambda: False) -> bool:
    """Raise 400 unless there is exactly one Host and at most one length. Return whether the client expects a 100.

    ``watched``: the headers named in WATCHED. RFC 9112 §3.2, §6.1 and §6.3; stricter than §7 in that the only transfer
    coding is ``chunked``, spelled so: llhttp lets ``gzip, chunked`` pass, and chunks in HTTP/1.0. ``hostless``: asked
    where the Host is missing or empty: whether that will do for this path, as load balancers' checks have none.
    """
    hosts = lengths = 0
    missing, expects = True, False
    for name, value in watched:
        if name == b"host":
            hosts += 1
            if value and not _is_host(value):
                raise malformed_request("its Host is not a host")
            missing = not value
        elif name == b"content-length":
            lengths += 1
        elif name == b"transfer-encoding":
            lengths += 1
            if value != b"chunked" or version == "1.0":
                raise malformed_request("its Transfer-Encoding is not just 'chunked'")
        elif name == b"expect":
            expects = value.lower() == b"100-continue" and version != "1.0"  # which has no 1xx: RFC 9110 §15.2
    if hosts > 1 or (missing and not hostless()):
        raise malformed_request("it needs exactly one Host")
    if lengths > 1:
        raise malformed_request("its length is given more than once")
    return expects


def check_upgrade(watched: Iterable[Header]) -> None:
    """Raise 400 for a client that asks for another protocol, such as websocket: it has come to the wrong place.

    An offer of cleartext HTTP/2, which Java's HttpClient always makes, may be ignored (RFC 9110 §7.8).
    """
    if any(name == b"upgrade" and value.lower() != b"h2c" for name, value in watched):
        raise malformed_request("the gateway does not switch protocols")


def without_offer(method: bytes, target: bytes, version: str, headers: Iterable[Header]) -> bytes:
    """The same head without its offer of another protocol."""
    lines = [b"%s %s HTTP/%s" % (method, target, version.encode("ascii"))]
    for name, value in headers:
        if name not in _OF_THE_OFFER:
            lines.append(b"%s: %s" % (name, value))
        elif name == b"connection" and b"close" in value.lower():
            lines.append(b"connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n"


@lru_cache(maxsize=256)
def _is_host(value: bytes) -> bool:
    return _HOST.fullmatch(value) is not None
