"""Authentication: a request's headers and address → the VirtualKey that it is made with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Sequence
from typing import Protocol

from gateway.core.client_address import Network, client_address
from gateway.core.errors import GatewayError, invalid_api_key, team_unknown
from gateway.core.in_force import InForce
from gateway.core.limits.auth_throttle import AuthThrottle
from gateway.core.types import ANONYMOUS, VirtualKey
from gateway.endpoints.sent_key import ambiguous_key, sent_key
from gateway.server.request import Request

ANONYMOUS_KEY = VirtualKey(ANONYMOUS)
"""The key of every request without a known one while authentication is off: may use everything, without limits."""


class AuthSettings(Protocol):
    """The settings that it goes by.

    ``trusted_proxies``: the networks of proxies before the gateway, which are believed about a client's address.
    ``refused_teams``: those whose keys are refused at this moment.
    """

    @property
    def trusted_proxies(self) -> Sequence[Network]: ...
    @property
    def refused_teams(self) -> Container[str]: ...


class Authenticator:
    """The check of every request's virtual key.

    ``find``: SHA-256 of a key → its VirtualKey, None if there is none or it is over. ``required``: whether a request
    without a valid key is refused at this moment. ``monotonic``: seconds. ``former``: SHA-256 of a key that is over →
    it, and why it is over, for the log alone.

    ``failures``: requests refused so far, for metrics; ``throttled``: those of them that were told to slow down.

    The look-up goes by digest, so its timing tells nothing of a key: an attacker can choose the key, not its hash
    (CVE-2026-42208 is what comes of asking a database with the key itself).
    """

    def __init__(
        self,
        find: Callable[[bytes], VirtualKey | None],
        required: Callable[[], bool],
        throttle: AuthThrottle,
        monotonic: Callable[[], float],
        in_force: InForce[AuthSettings],
        former: Callable[[bytes], tuple[VirtualKey, str] | None] = lambda _: None,
    ) -> None:
        self._find = find
        self._required = required
        self._throttle = throttle
        self._monotonic = monotonic
        self._in_force = in_force
        self._former = former
        self.failures = 0
        self.throttled = 0

    def authenticate(self, request: Request) -> VirtualKey:
        """The VirtualKey of the key sent as ``Authorization: Bearer`` or, without that, as ``X-API-Key`` or, without
        that, as ``api-key``, as Azure's clients do.

        Raise the one 401 for a missing, unknown, expired or revoked key: the same work and the same body each time; and
        429 for a failure at an address that had too many; and 400 for several keys, valid or not. A valid key
        passes after any number of failures at its address, unless its team lost its budget with its place in the
        configuration (403). While authentication is off, an unknown key counts as none, as the SDKs cannot send none.
        """
        sent = sent_key(request)
        if sent.ambiguous:
            raise ambiguous_key()
        found = self._find(hashlib.sha256(sent.value).digest())
        key = found if sent.value else None
        if key is not None:
            request.key = key
            request.admit()
            if key.team is not None and key.team in self._in_force.snapshot.refused_teams:
                raise team_unknown(key.team)
            return key
        if self._required():
            raise self._refusal(request, sent.value)
        request.key = ANONYMOUS_KEY
        request.admit()
        return ANONYMOUS_KEY

    def address(self, request: Request) -> str:
        """The client's address: the connection's, or what trusted proxies say of it. Empty if its end is gone."""
        peer, forwarded = request.peer, request.every(b"x-forwarded-for")
        return client_address(peer[0], forwarded, self._in_force.snapshot.trusted_proxies) if peer else ""

    def _refusal(self, request: Request, sent: bytes) -> GatewayError:
        """Count a failure; return the error to answer with. The log is told why, the client is not."""
        self.failures += 1
        if not sent:  # no key is no guess: a probe that has lost its key must not make its whole office wait
            return _said(invalid_api_key(), "no key was sent")
        why = "the key is not known"
        former = self._former(hashlib.sha256(sent).digest())
        if former is not None:
            request.key, why = former
        told_to_wait = self._throttle.failed(self.address(request), self._monotonic())
        if told_to_wait is None:
            return _said(invalid_api_key(), why)
        self.throttled += 1
        request.close_after_answer()  # each further guess costs its sender a connection
        return _said(told_to_wait, f"{why}; too many have failed from this address")


def _said(error: GatewayError, why: str) -> GatewayError:
    """The error, with what the log says of it."""
    error.detail = why
    return error
