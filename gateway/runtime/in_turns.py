"""Long work on the event loop in pieces, between which everything else has its turn."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from time import perf_counter

TURN = 0.001
"""Seconds of work after which the others have their turn."""


async def in_turns(pieces: Iterator[bytes]) -> bytes:
    """All pieces, joined. Each should be the work of well under a millisecond."""
    made: list[bytes] = []
    until = perf_counter() + TURN
    for piece in pieces:
        made.append(piece)
        if perf_counter() >= until:
            await asyncio.sleep(0)
            until = perf_counter() + TURN
    return b"".join(made)
