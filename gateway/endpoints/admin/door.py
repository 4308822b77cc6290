"""The door of the admin routes: asks for the admin key, and counts those who do not have it.

Nothing of a request is read before it has passed, neither its body nor its query; only the console's form for the key
is, which is short. Who does not pass is answered, and the connection ends: a guess costs a connection, and a connection
without a key is the first to make room (server/slots.py).

The right key passes after any number of failures, at its address or anywhere, so no guesser can shut out an operator at
the same address (one NAT, one machine). That leaves guessing to the length of the key: 16 characters at least,
which the configuration sees to. The 429s slow down a program with an old key, and give a log or a firewall something
to act upon.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from hashlib import sha256
from typing import Protocol

from gateway.core.errors import ClientError, GatewayError
from gateway.core.in_force import InForce
from gateway.core.limits.auth_throttle import AuthThrottle
from gateway.endpoints.sent_key import ambiguous_key, sent_key
from gateway.server.request import Request

MOST_FROM_EVERYWHERE = 100
"""Wrong keys in a minute, from all addresses together; what fails beyond is told to wait, wherever it comes from."""


class DoorSettings(Protocol):
    """``admin_key``: None or empty for none."""

    @property
    def admin_key(self) -> str | None: ...


class AdminDoor:
    """``address``: the client's, of a request. ``monotonic``: seconds.

    ``failures``: requests that were refused so far, for metrics.
    """

    def __init__(
        self, in_force: InForce[DoorSettings], address: Callable[[Request], str], monotonic: Callable[[], float]
    ) -> None:
        self._in_force = in_force
        self._address = address
        self._monotonic = monotonic
        self._by_address = AuthThrottle()
        self._of_all = AuthThrottle(most_addresses=1, most_failures=MOST_FROM_EVERYWHERE)
        self.failures = 0

    def enter(self, request: Request, *, open_to_all: bool = False) -> str:
        """Let a request in; return under which name, for the audit log.

        ``open_to_all``: whether its route asks for no key.

        Raise the one 401 for a missing or wrong key, 429 for a wrong one where too many were, and 400 for several keys
        at once.
        """
        key, sent = self._in_force.snapshot.admin_key, sent_key(request)
        if sent.ambiguous:
            request.close_after_answer()
            raise ambiguous_key()
        if key and not _same(sent.bearer, key.encode()):
            if not open_to_all:
                raise self._refusal(request, sent.value)
            request.renew()
        else:
            request.admit()
        return "admin key" if key else "admin API without a key"

    def check(self, request: Request, key: bytes) -> None:
        """Let a request in by a key that came in its body, as a form's. Raise 401 and 429 as ``enter`` does."""
        if not _same(key, (self._in_force.snapshot.admin_key or "").encode()):
            raise self._refusal(request, key)
        request.admit()

    def _refusal(self, request: Request, sent: bytes) -> GatewayError:
        """``sent``: the key that came, empty for none."""
        request.close_after_answer()
        self.failures += 1
        refused = ClientError(401, "invalid_request_error", "invalid_api_key", "Send the admin key as a Bearer token.")
        if not sent:  # no key is no guess: a scraper that has lost its key must not make its office wait
            refused.detail = "no admin key was sent"
            return refused
        now = self._monotonic()
        told_to_wait = self._by_address.failed(self._address(request), now) or self._of_all.failed("", now)
        if told_to_wait is None:
            refused.detail = "the admin key is not this one"
            return refused
        told_to_wait.detail = "the admin key is not this one; too many have failed"
        return told_to_wait


def _same(sent: bytes, key: bytes) -> bool:
    """Compared by digest, in constant time: neither content nor length shows in how long it takes."""
    return hmac.compare_digest(sha256(sent).digest(), sha256(key).digest())
