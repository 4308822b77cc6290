"""How late the event loop is: the time by which a timer's call comes after it is due."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

LAG_EVERY = 0.25
"""Seconds between two looks."""


async def watch_lag(tell: Callable[[float], None]) -> None:
    """Tell, for ever, how many seconds the loop is late."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LAG_EVERY
        await asyncio.sleep(LAG_EVERY)
        tell(max(0.0, loop.time() - due))
