"""How much of a stream is worked on in one turn of the event loop, so that nothing else waits long for it.

Bytes alone cost next to nothing; lines do: each may be an event or a comment, and takes microseconds.
"""

from __future__ import annotations

MOST_BYTES = 128 * 1024
"""Bytes of a body that are handed on in one turn."""

MOST_LINES = 128
"""Line ends among them: an event of two lines takes 5 to 100 µs (one with usage), hence 6 ms at the most."""

FEW_BYTES = 2048
"""Bytes that are handed on without counting their lines."""


def end_of_turn(data: bytes, start: int = 0) -> int:
    """Where in ``data`` the part ends that begins at ``start`` and may be worked on in one turn."""
    end = min(len(data), start + MOST_BYTES)
    while end - start > FEW_BYTES and data.count(b"\n", start, end) + data.count(b"\r", start, end) > MOST_LINES:
        end = start + (end - start) // 2
    return end
