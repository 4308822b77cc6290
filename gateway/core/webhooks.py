"""Messages to webhooks as Standard Webhooks has them: how one is signed, what an answer means, when to try again.

    webhook-id: msg_…                 the same for every try, so that a receiver can tell repetitions
    webhook-timestamp: 1795337221     of this try
    webhook-signature: v1,<base64 of HMAC-SHA256(secret, "id.timestamp.body")>

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md (1.0.0)
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass

from gateway.core.outcomes.retry_after import parse_retry_after

PAUSES = (5.0, 30.0, 120.0, 600.0)
"""Seconds before each further try, a little more by chance. A receiver that asks for a longer rest gets it."""

LONGEST_PAUSE = 900.0
"""The longest rest, in seconds, that a receiver can ask for."""

_GONE = 410


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a try did not deliver. ``rest``: seconds the receiver asked for. ``final``: it wants no more of them."""

    trouble: str
    rest: float = 0.0
    final: bool = False


def signature(key: bytes, id: str, seconds: int, body: bytes) -> str:
    """``v1,<base64>``: a symmetric signature over the id, the time of the try and the body."""
    signed = hmac.new(key, f"{id}.{seconds}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode('ascii')}"


def signed_headers(key: bytes, id: str, seconds: int, body: bytes) -> dict[str, str]:
    """The headers of one try. ``seconds``: Unix time."""
    return {
        "webhook-id": id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": signature(key, id, seconds, body),
    }


def failure_of(status: int, rest: str | None, seconds: int) -> Failure | None:
    """What an answer means: None for one that took the message, which is any 2xx.

    ``status``: 0 if there was none; then ``rest`` says what went wrong, else it is its ``retry-after``.
    ``seconds``: Unix time.
    """
    if not status:
        return Failure(rest or "")
    if 200 <= status < 300:
        return None
    return Failure(f"status {status}", parse_retry_after(rest, wall_seconds=seconds) or 0.0, status == _GONE)


def pause_before(tries: int, failure: Failure, chance: float, pauses: tuple[float, ...] = PAUSES) -> float:
    """Seconds to rest after so many tries, of which the last came to ``failure``. ``chance``: 0 to 1."""
    return max(pauses[tries - 1] * (1 + chance / 5), min(failure.rest, LONGEST_PAUSE))
