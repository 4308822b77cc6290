"""The limits of a listener: sizes, times and connections."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What one listener puts up with. Sizes in bytes, times in seconds."""

    headers: int = 32 * 1024
    """The request line and all headers; also a chunked body's framing and trailers without a byte of content."""
    header_count: int = 100
    url: int = 8 * 1024
    head_timeout: float = 10.0
    """From the first byte to the end of a head, and from a connection's begin to its first byte."""
    keep_alive: float = 75.0
    """An idle connection's life. Longer than the clients' own, so that they close first."""
    write_stall: float = 60.0
    """How long a client with more than 64 KiB still to take may take nothing."""
    linger: float = 2.0
    """How long a client that still sends is listened to after a refusal: a reset would destroy the answer."""
    connections: int = 16 * 1024
    """What comes while so many are open is answered 503 …"""
    refusals: int = 16
    """… but only so many at a time: an answer needs a descriptor. The rest are closed at once."""
    strangers: int | None = None
    """So many of them at most may be open without a request that was admitted; then the oldest makes room, before
    anything is refused (slots.py). None: all connections are equal, and none makes room."""


def client_connections(descriptors: int | None, reserved: int) -> int:
    """How many connections clients may have open: half of what can be, since every request takes one upstream as well.

    ``descriptors``: how many the process may open (RLIMIT_NOFILE); None without limit. ``reserved``: how many of
    them are for everything else: the ledger, the log, the listeners, the admin's clients.
    """
    if descriptors is None:
        return ServerLimits().connections
    return max(1, min(ServerLimits().connections, (descriptors - reserved) // 2 - ServerLimits().refusals))


def admin_strangers(descriptors: int | None) -> int:
    """How many connections that have shown no key the admin listener keeps open; the descriptors' share is small."""
    return 256 if descriptors is None else max(16, min(256, descriptors // 64))
