"""Patience: how long a client says that it waits, and when it has to be told that the work is still running.

    x-gateway-patience: 90s         of any client; ``500ms``, ``30s``, ``2m``, ``1h`` or plain seconds
    x-stainless-read-timeout: 20.0  of openai-python: seconds that it waits for a byte, once it has sent everything
    x-stainless-timeout: 20         of openai-node: seconds from when it began to send until the head of the answer, cut
                                    off to whole ones, so that 0 is anything below one second

A client that gives up by itself orders the same again; one that is answered in time knows what it waits for. An SDK
that says no time waits for ever, or was told so by a proxy, and is not hurried.

Sources: openai-python 2.x, ``_base_client.py`` (``_build_headers``); openai-node 6.x, ``client.ts`` (``buildHeaders``,
``fetchWithTimeout``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

OWN_HEADER = b"x-gateway-patience"
PYTHON_HEADER = b"x-stainless-read-timeout"
NODE_HEADER = b"x-stainless-timeout"

LONGEST = 7 * 86_400.0
"""Seconds beyond which a client waits for ever, as far as a job is concerned."""

MOST_MARGIN, LEAST_MARGIN, MARGIN = 1.0, 0.25, 0.05
"""Before a client's time is over: this part of it, within these bounds in seconds, and never more than half of it."""

_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(ms|s|m|h)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Patience:
    """``seconds``: how long the client waits; above 0. ``from_body``: from when its body was complete, not from when
    its request began.
    """

    seconds: float
    from_body: bool = False

    @property
    def answer_after(self) -> float:
        """Seconds after which it is answered, so that the answer arrives in time."""
        margin = max(LEAST_MARGIN, min(MOST_MARGIN, self.seconds * MARGIN))
        return self.seconds - min(margin, self.seconds / 2)


def patience_of(headers: Mapping[bytes, bytes]) -> Patience | None:
    """What the client says, its own header first; None if it says nothing that can be used, or waits for ever.

    ``headers``: names in lower case. Raises ValueError if ``x-gateway-patience`` is no duration.
    """
    own = headers.get(OWN_HEADER)
    if own is not None:
        return _within(_duration(own.decode("latin-1").strip()), from_body=False)
    for name, from_body in ((PYTHON_HEADER, True), (NODE_HEADER, False)):
        if (sent := headers.get(name)) is not None:
            return _within(_number(sent), from_body=from_body)
    return None


def _duration(text: str) -> float:
    match = _DURATION.fullmatch(text)
    seconds = 0.0 if match is None else float(match[1]) * _SECONDS[match[2] or "s"]
    if not seconds:
        raise ValueError(f"'{text[:32]}' is no duration above 0: write 90s, 500ms, 2m or 1h")
    return seconds


def _number(sent: bytes) -> float:
    """A plain number of seconds; 0 for anything else."""
    try:
        seconds = float(sent)
    except ValueError:
        return 0.0
    return seconds if math.isfinite(seconds) else 0.0


def _within(seconds: float, *, from_body: bool) -> Patience | None:
    return Patience(seconds, from_body) if 0 < seconds <= LONGEST else None
