"""Who asks: a request's headers → a VirtualKey."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from gateway.core.types import VirtualKey
from gateway.errors import invalid_api_key

ANONYMOUS = VirtualKey("anonymous")
"""Who asks while authentication is off: may use everything, without limits."""


class Authenticator:
    """``keys``: SHA-256 of the key → its VirtualKey. ``required``: whether a request without a valid key is refused.

    Looking up by digest leaks nothing by its timing: what an attacker can choose is the key, not its hash
    (CVE-2026-42208 is what comes of asking a database with the key itself).
    """

    def __init__(self, keys: Mapping[bytes, VirtualKey], required: bool) -> None:
        self._keys = keys
        self.required = required

    def authenticate(self, headers: Iterable[tuple[bytes, bytes]]) -> VirtualKey:
        """The key that was sent as ``Authorization: Bearer`` or, without that, as ``X-API-Key``.

        Raise the one 401 for a missing, unknown or ambiguous key: the same work and the same body each time. While
        authentication is off, a key that is not known makes its sender anonymous, as the SDKs cannot send none.
        """
        bearer: bytes | None = None
        other: bytes | None = None
        authorizations = others = 0
        for name, value in headers:
            if name == b"authorization":
                authorizations += 1
                bearer = _bearer_token(value)
            elif name == b"x-api-key":
                others += 1
                other = value
        sent = bearer if bearer is not None else other
        key = self._keys.get(hashlib.sha256(sent or b"").digest())
        if authorizations > 1 or others > 1:
            raise invalid_api_key()
        if key is not None and sent:
            return key
        if self.required:
            raise invalid_api_key()
        return ANONYMOUS


def _bearer_token(value: bytes) -> bytes | None:
    """The token of ``Bearer <token>``, the scheme in any case (RFC 9110 §11.1); None for another scheme."""
    if value[:7].lower() == b"bearer ":
        return value[7:].strip()
    return None
