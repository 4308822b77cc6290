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
from gateway.server.request import Request

_OF_THE_OFFER = frozenset((b"connection", b"upgrade", b"http2-settings"))
_LENGTHS = frozenset((b"content-length", b"transfer-encoding"))
_BLANKS = b" \t"
_HOST = re.compile(rb"(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


def check_head(request: Request, hostless: Callable[[bytes], bool] = lambda _: False) -> None:
    """Raise 400 for a head that is not sound. Blanks behind values, which llhttp leaves there, are none of them
    (RFC 9110 §5.5) and taken off.

    Its target is a path with perhaps a query (RFC 9112 §3.2.1), asked for in HTTP/1.0 or 1.1. llhttp takes a line
    without a version for HTTP/0.9, and lets absolute targets and fragments pass. CONNECT never goes with a path
    (RFC 9110 §9.3.6), and llhttp would take what follows it for another protocol.

    It has one Host and at most one length: RFC 9112 §3.2, §6.1, §6.3; stricter than §7 in that the only transfer
    coding is ``chunked``, spelled so: llhttp lets ``gzip, chunked`` pass, and chunks in HTTP/1.0. ``hostless``:
    asked where the Host is missing or empty: whether that will do for this path, as load balancers' checks have none.
    """
    fields, target, version = request.fields, request.target, request.version
    if version != "1.1" and version != "1.0":
        raise malformed_request("its version is neither HTTP/1.1 nor HTTP/1.0")
    if request.method == "CONNECT":
        raise malformed_request("it asks for a tunnel")
    if target[:1] != b"/" or b"#" in target:
        raise malformed_request("its target is not a path")
    _take_blanks_off(request)
    host = fields.get(b"host")
    if host and not _is_host(host):
        raise malformed_request("its Host is not a host")
    coded = b"transfer-encoding" in fields
    if coded and (fields[b"transfer-encoding"] != b"chunked" or version == "1.0"):
        raise malformed_request("its Transfer-Encoding is not just 'chunked'")
    if request.repeated:
        _check_repeated(request.repeated)
    if not host and not hostless(request.path):
        raise malformed_request("it needs exactly one Host")
    if coded and b"content-length" in fields:
        raise malformed_request("its length is given more than once")


def _take_blanks_off(request: Request) -> None:
    """Take blanks off behind values, but for a Transfer-Encoding: llhttp may have read another one than is left then.

    They are looked for in all values at once, as there hardly ever are any.
    """
    fields = request.fields
    values = b"\n".join((*fields.values(), b""))  # a line end behind each: no value holds one
    if b" \n" in values or b"\t\n" in values:
        for name, value in fields.items():
            if name != b"transfer-encoding":
                fields[name] = value.rstrip(_BLANKS)
    if request.repeated:
        request.repeated = tuple((name, value.rstrip(_BLANKS)) for name, value in request.repeated)


def _check_repeated(headers: Iterable[Header]) -> None:
    """Raise 400 for one that must not come twice."""
    for name, _ in headers:
        if name == b"host":
            raise malformed_request("it needs exactly one Host")
        if name in _LENGTHS:
            raise malformed_request("its length is given more than once")


def expects_continue(request: Request) -> bool:
    """Whether the client waits for a 100 before it sends the body. HTTP/1.0 has no 1xx: RFC 9110 §15.2."""
    asked = request.every(b"expect")
    return request.version != "1.0" and bool(asked) and asked[-1].lower() == b"100-continue"


def check_upgrade(request: Request) -> None:
    """Raise 400 for a client that asks for another protocol, such as websocket: it has come to the wrong place.

    An offer of cleartext HTTP/2, which Java's HttpClient always makes, may be ignored (RFC 9110 §7.8).
    """
    if any(value.lower() != b"h2c" for value in request.every(b"upgrade")):
        raise malformed_request("the gateway does not switch protocols")


def without_offer(request: Request) -> bytes:
    """The same head without its offer of another protocol."""
    lines = [f"{request.method} ".encode() + request.target + f" HTTP/{request.version}".encode()]
    for name, value in request.headers:
        if name not in _OF_THE_OFFER:
            lines.append(b"%s: %s" % (name, value))
        elif name == b"connection" and b"close" in value.lower():
            lines.append(b"connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n"


@lru_cache(maxsize=256)
def _is_host(value: bytes) -> bool:
    return _HOST.fullmatch(value) is not None
