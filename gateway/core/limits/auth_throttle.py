"""How many keys an address may guess: after ten failures in a minute it is asked to wait.

What is refused is refused *before* its key is looked up. Looking first and letting whatever is valid through would keep
honest clients going, but would also let guesses run at full speed, each learning whether it was right. But a key that
was right at the same address within the last hour passes at once: who shares an address with a guesser (behind one NAT
or proxy) goes on working, only keys that are new to that address have to wait, and nothing is learned by a guess, as
passing needs the very key. What is refused does not count as one more failure, so that waiting as long as told is
enough, and at most ten keys a minute can be tried from anywhere.

An address is what the connection comes from, whatever a header says: an IPv4 address, or the /64 of an IPv6 address,
which is what one customer is given (RFC 6177). Memory is bounded; who has so many networks that old entries are
forgotten has ten guesses in each, against keys of 256 bits. Times are monotonic seconds; one thread only.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict, deque
from dataclasses import dataclass
from functools import lru_cache

from gateway.core.errors import LimitError, rate_limit_exceeded

MOST_FAILURES = 10
"""In one window, per address."""

WINDOW = 60.0
"""Seconds, sliding."""

WELCOME = 3600.0
"""Seconds a key that was right is let through at its address, however many others fail there."""

MOST_ADDRESSES = 10_000
"""With failures that are remembered, and as many pairs of an address and a key that was right; the oldest go first."""


@dataclass(frozen=True, slots=True)
class Throttled:
    """Too many keys failed at this address. ``retry_after``: seconds until the next may be tried."""

    retry_after: float

    def error(self) -> LimitError:
        """429 ``rate_limit_exceeded``; one body for all, that says nothing about the key."""
        return rate_limit_exceeded(
            "Too many failed authentications from your address. Wait as long as 'retry-after' says.", self.retry_after
        )


class AuthThrottle:
    """Asked before a key is looked up and told what came of it. ``digest``: the key's SHA-256; no key is kept."""

    def __init__(self, most_addresses: int = MOST_ADDRESSES) -> None:
        self._most = most_addresses
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()
        self._welcome: OrderedDict[tuple[str, bytes], float] = OrderedDict()

    def check(self, address: str, digest: bytes, now: float) -> Throttled | None:
        """None if the key may be looked up. The same work whatever the key is."""
        place = place_of(address)
        welcome = self._welcome.get((place, digest))
        failures = self._failures.get(place)
        if failures is None or len(failures) < MOST_FAILURES:
            return None
        wait = failures[0] + WINDOW - now
        if wait <= 0 or (welcome is not None and now - welcome < WELCOME):
            return None
        self._failures.move_to_end(place)
        return Throttled(wait)

    def failed(self, address: str, digest: bytes, now: float) -> None:
        """The look-up found nobody, or somebody who may not come in any more."""
        place = place_of(address)
        self._welcome.pop((place, digest), None)
        failures = self._failures.get(place)
        if failures is None:
            failures = self._failures[place] = deque(maxlen=MOST_FAILURES)
        failures.append(now)
        self._failures.move_to_end(place)
        if len(self._failures) > self._most:
            self._failures.popitem(last=False)

    def succeeded(self, address: str, digest: bytes, now: float) -> None:
        """The key was right."""
        pair = (place_of(address), digest)
        self._welcome[pair] = now
        self._welcome.move_to_end(pair)
        if len(self._welcome) > self._most:
            self._welcome.popitem(last=False)


@lru_cache(maxsize=4096)
def place_of(address: str) -> str:
    """What shares one count with ``address``: itself for IPv4, also inside IPv6 (``::ffff:…``), else its /64.

    What is no IP address (a Unix socket's client has none) stands for itself.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
