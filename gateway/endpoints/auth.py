"""Who asks: a request's headers and address → a VirtualKey."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from starlette.types import Scope

from gateway.core.errors import invalid_api_key
from gateway.core.limits.auth_throttle import AuthThrottle
from gateway.core.types import VirtualKey

ANONYMOUS = VirtualKey("anonymous")
"""Who asks while authentication is off: may use everything, without limits."""


class Authenticator:
    """``find``: SHA-256 of a key → its VirtualKey, None if there is none or it is over. ``required``: whether a request
    without a valid key is refused at this moment. ``monotonic``: seconds.

    ``failures``: requests refused so far, for metrics; ``throttled``: those of them that were told to slow down.

    Looking up by digest leaks nothing by its timing: what an attacker can choose is the key, not its hash
    (CVE-2026-42208 is what comes of asking a database with the key itself).
    """

    def __init__(
        self,
        find: Callable[[bytes], VirtualKey | None],
        required: Callable[[], bool],
        throttle: AuthThrottle,
        monotonic: Callable[[], float],
    ) -> None:
        self._find = find
        self._required = required
        self._throttle = throttle
        self._monotonic = monotonic
        self.failures = 0
        self.throttled = 0

    def authenticate(self, scope: Scope) -> VirtualKey:
        """The key that was sent as ``Authorization: Bearer`` or, without that, as ``X-API-Key``.

        Raise the one 401 for a missing, unknown, ambiguous, expired or revoked key: the same work and the same body
        each time; and 429 for an address from which too many came. While authentication is off, a key that is not known
        makes its sender anonymous, as the SDKs cannot send none.
        """
        sent, ambiguous = _sent(scope["headers"])
        digest = hashlib.sha256(sent).digest()
        if not self._required():
            key = self._find(digest)
            if ambiguous:
                raise invalid_api_key()
            return key if key is not None and sent else ANONYMOUS
        return self._checked(sent, digest, ambiguous, _address(scope))

    def _checked(self, sent: bytes, digest: bytes, ambiguous: bool, address: str) -> VirtualKey:
        """A valid key passes whatever came from its address before: behind one address may be a whole office, and a key
        of 256 bits is not found by trying. What the throttle bounds is the noise, and what a failure may learn.
        """
        now = self._monotonic()
        throttled = self._throttle.check(address, digest, now)
        key = self._find(digest)
        if key is not None and sent and not ambiguous:
            self._throttle.succeeded(address, digest, now)
            return key
        self.failures += 1
        if throttled is not None and sent:
            self.throttled += 1
            raise throttled.error()
        # Who sends no key guesses none: a probe that has lost its key must not lock out its whole office.
        if sent:
            self._throttle.failed(address, digest, now)
        raise invalid_api_key()


def _sent(headers: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, bool]:
    """The key that was sent, perhaps empty, and whether there was more than one header of a kind."""
    bearer: bytes | None = None
    other = b""
    authorizations = others = 0
    for name, value in headers:
        if name == b"authorization":
            authorizations += 1
            bearer = _bearer_token(value)
        elif name == b"x-api-key":
            others += 1
            other = value
    return other if bearer is None else bearer, authorizations > 1 or others > 1


def _bearer_token(value: bytes) -> bytes | None:
    """The token of ``Bearer <token>``, the scheme in any case (RFC 9110 §11.1); None for another scheme."""
    if value[:7].lower() == b"bearer ":
        return value[7:].strip()
    return None


def _address(scope: Scope) -> str:
    """What the connection comes from. No header has a say: clients write those."""
    client = scope.get("client")
    return client[0] if client else ""
