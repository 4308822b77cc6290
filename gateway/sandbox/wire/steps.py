"""Steps: what a connection carries out to play an answer, byte by byte."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Send:
    """Bytes for the client. ``tokens`` and ``images``: how much of the sale these bytes deliver."""

    data: bytes
    tokens: int = 0
    images: int = 0


@dataclass(frozen=True, slots=True)
class Pause:
    """Silence for so many seconds; ``math.inf`` lasts until the client leaves or Cloudflare's wall is reached."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Close:
    """The end of the connection: a FIN after what was sent, or an RST. ``complete``: the answer was whole."""

    reset: bool = False
    complete: bool = False


Step = Send | Pause | Close
