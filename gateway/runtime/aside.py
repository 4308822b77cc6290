"""Work that takes long, done in a thread so that the event loop goes on: a picture of 22 MB is half a second's work.

A thread does not make one long call of C shorter, during which no other thread runs: who works aside does it in steps
of at most some milliseconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def aside(work: Callable[[], T]) -> T:
    """The result of ``work``, done in a thread.

    It is never left running: who is cancelled meanwhile waits for its end, and is cancelled then.
    """
    running = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            try:
                await asyncio.wait({running})
            except asyncio.CancelledError:
                continue
        running.cancelled() or running.exception()  # it has been looked at
        raise
