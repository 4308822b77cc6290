"""Work on large documents off the event loop, one at a time.

Parsing, checking and writing megabytes of JSON takes tens of milliseconds, for which all streams would stand
still. One thread does it for the whole process: two would not be faster, since Python runs one of them at a time, and
so at most one document is in memory in its parsed form while it is judged. Small documents never come here: handing
one over takes 0.1 ms.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="documents")


async def off_loop(work: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
    """The result of ``work``, or what it raises, other than StopIteration; done in the thread, first come first served.

    If the caller is cancelled, work that waits is not done, and work that has begun is waited for, since it uses what
    the caller would otherwise take away from it; then the cancellation is raised.
    """
    given = _thread.submit(work, *arguments)
    waiting = asyncio.wrap_future(given)
    try:
        return await asyncio.shield(waiting)
    except asyncio.CancelledError:
        if not given.cancel():
            await _ended(waiting)
        raise


async def _ended(waiting: asyncio.Future[T]) -> None:
    while not waiting.done():
        try:
            await asyncio.wait((waiting,))
        except asyncio.CancelledError:
            continue  # the first one is raised
    if not waiting.cancelled():
        waiting.exception()  # retrieved, or asyncio complains that it was not
