"""What a listener puts up with."""

from __future__ import annotations

import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Sizes in bytes, times in seconds."""

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
    connections: int = sys.maxsize
    """What comes while so many are open is answered 503."""
