"""CORS: which web pages may call the listener and read its answers, and the headers that tell a browser so.

A page may if its origin is listed. While no key is asked for, pages of this machine and of installed programs may too.
No answer allows credentials: cookies mean nothing here, and a key is a header that the page must know.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Protocol

from gateway.core.errors import ClientError
from gateway.core.headers import Headers
from gateway.core.in_force import InForce
from gateway.server.origins import is_local_page, is_program, normal_origin
from gateway.server.request import Request

EXPOSED = (
    "x-request-id",
    "request-id",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    "x-gateway-upstream",
    "x-gateway-attempts",
    "x-gateway-cost-usd",
    "x-gateway-note",
    "x-gateway-expected-seconds",
    "x-gateway-cache",
    "x-gateway-job",
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens",
)
"""The headers of answers that a page may read, each by its name: ``x-gateway-*`` would stand for nothing."""

_EXPOSED = (b"access-control-expose-headers", ", ".join(EXPOSED).encode("ascii"))
_VARY = (b"vary", b"origin")
_GRANTED = (
    # Every method, on every path: otherwise the page could not read why its request is answered 404 or 405.
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
    (b"access-control-max-age", b"600"),
    (b"vary", b"access-control-request-method, access-control-request-headers"),
)
_USUAL = b"authorization, content-type, x-api-key, api-key, x-request-id"
_NAME = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_MOST_NAMES = 64
_MOST_BYTES = 4096


class CorsSettings(Protocol):
    """``cors_origins``: the origins that are listed, in their normal form (``origins.py``)."""

    @property
    def cors_origins(self) -> Collection[str]: ...


class CrossOrigin:
    """The pages that may call one listener.

    ``opened``: whether requests are answered without a key at this moment.
    """

    def __init__(self, opened: Callable[[], bool], in_force: InForce[CorsSettings]) -> None:
        self._opened = opened
        self._in_force = in_force

    def trusts(self, origin: bytes) -> bool:
        """Whether the page may send what it likes: it is listed, or no page of the web can have its origin."""
        listed = self._in_force.snapshot.cors_origins
        return normal_origin(origin).decode("latin-1") in listed or (self._opened() and is_program(origin))

    def allows(self, origin: bytes) -> bool:
        """Whether the page may call and read answers."""
        return self.trusts(origin) or (self._opened() and is_local_page(origin))

    def answer_headers(self, origin: bytes) -> Headers:
        """What every answer to this page says; nothing for a page that may not read it."""
        if not self.allows(origin):
            return ()
        return (b"access-control-allow-origin", origin), _EXPOSED, _VARY

    def preflight(self, request: Request) -> Headers | None:
        """What the answer to a preflight says besides ``answer_headers``; None if this is no preflight.

        Raise 403 ``foreign_origin`` for a page that may not call.
        """
        found = request.fields
        origin = found.get(b"origin")
        if origin is None or b"access-control-request-method" not in found:
            return None
        if not self.allows(origin):
            raise foreign_origin("A browser asks whether this page may call the gateway, and its origin is not listed")
        granted = [*_GRANTED, (b"access-control-allow-headers", _allowed(found.get(b"access-control-request-headers")))]
        if found.get(b"access-control-request-private-network") == b"true":
            granted.append((b"access-control-allow-private-network", b"true"))
        return granted


def foreign_origin(reason: str) -> ClientError:
    """403: the page that sent this may not call. ``reason``: a clause."""
    return ClientError(
        403,
        "permission_error",
        "foreign_origin",
        f"{reason}. To allow the page, add its origin to 'cors.origins' of the gateway's configuration.",
    )


def _allowed(requested: bytes | None) -> bytes:
    """The names that a preflight asks for, if they are names and not too many, else the usual ones.

    ``*`` would not do: it stands for everything but ``authorization``.
    """
    if requested is None or len(requested) > _MOST_BYTES:
        return _USUAL
    names = [name for part in requested.split(b",") if (name := part.strip())]
    if not 1 <= len(names) <= _MOST_NAMES or not all(map(_NAME.fullmatch, names)):
        return _USUAL
    return b", ".join(names).lower()
