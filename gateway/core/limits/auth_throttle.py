"""A count of the keys that failed at each address: after ten in a minute, further failures are told to wait.

A valid key always passes: the throttle is told of failures only, after the look-up, so it can never lock out a client
that shares its address (one NAT, one proxy) with a program that sends an old key or guesses. What protects a key is
its length, 256 random bits, and not this count; the throttle makes a misconfigured client slow down, answers a guesser
with a 429 that a log or a firewall can act upon, and says nothing of the key.

A failure that is told to wait does not count as one more, so that waiting as long as told is enough.

An address is what the connection comes from; headers do not count: an IPv4 address, or the /64 of an IPv6 address,
which is what one customer is given (RFC 6177). Memory is bounded: of too many addresses the one that failed longest
ago is forgotten. Times are monotonic seconds; one thread only.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict, deque
from functools import lru_cache

from gateway.core.errors import LimitError, rate_limit_exceeded

MOST_FAILURES = 10
"""In one window, per address."""

WINDOW = 60.0
"""Seconds, sliding."""

MOST_ADDRESSES = 10_000
"""How many addresses are remembered."""


class AuthThrottle:
    """The failures of the last minute, by address.

    ``most_addresses``: how many are remembered. ``most_failures``: of each, in a minute.
    """

    def __init__(self, most_addresses: int = MOST_ADDRESSES, most_failures: int = MOST_FAILURES) -> None:
        self._most = most_addresses
        self._most_failures = most_failures
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def failed(self, address: str, now: float) -> LimitError | None:
        """Count a key that was not valid. Return the 429 to answer with if the address has had its failures.

        The error's body is the same for every key and every address.
        """
        network = network_of(address)
        failures = self._failures.get(network)
        if failures is None:
            failures = self._failures[network] = deque(maxlen=self._most_failures)
            if len(self._failures) > self._most:
                self._failures.popitem(last=False)
        else:
            self._failures.move_to_end(network)
        if len(failures) == self._most_failures and (wait := failures[0] + WINDOW - now) > 0:
            return rate_limit_exceeded(
                "Too many failed authentications from your address. Wait as long as 'retry-after' says.", wait
            )
        failures.append(now)
        return None


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
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
