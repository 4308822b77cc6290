"""Reading the store for pages, so that neither a store that hangs nor people who look on can stop the gateway's work.

At most ``AT_ONCE`` reads run, however many look on; what waits longer than ``WITHIN`` is told so, while the read goes
on: a thread in the middle of one cannot be stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar, TypeVarTuple

from gateway.core.errors import GatewayError, StoreError
from gateway.runtime.tasks import TrackedTasks

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

AT_ONCE = 2

WITHIN = 10.0
"""Seconds."""

SHARE = 20
"""How many times as long as it took an answer is kept: a twentieth of a core at most goes into asking anew."""

AT_LEAST, AT_MOST = 1.0, 60.0
"""Seconds that an answer is kept."""

_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="console")


async def aside(work: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
    """The result of a page's own work, done in the console's thread: those of the gateway's work are left to it."""
    return await asyncio.wrap_future(_thread.submit(work, *arguments))


class Reading:
    """The reads of one gateway. ``tasks``: keep what goes on after its reader has given up."""

    def __init__(self, tasks: TrackedTasks) -> None:
        self._tasks = tasks
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def of(self, read: Callable[[], Awaitable[T]]) -> T:
        """What ``read`` returns or raises; StoreError if that takes too long."""
        try:
            async with asyncio.timeout(WITHIN):
                await self._slots.acquire()
                task = self._tasks.spawn(self._kept(read), "console-read")
                await asyncio.wait((task,))
        except TimeoutError:
            raise StoreError(
                f"The store did not answer within {WITHIN:g} seconds. Look at its disk or server, and at the log."
            ) from None
        result, error = task.result()
        if error is not None:
            raise error.with_traceback(None)
        found: T = result
        return found

    async def _kept(self, read: Callable[[], Awaitable[T]]) -> tuple[Any, StoreError | GatewayError | None]:
        """What the store says of itself is no crash of the task: who reads is told."""
        try:
            return await read(), None
        except (StoreError, GatewayError) as error:
            return None, error
        finally:
            self._slots.release()


class Recent(Generic[T]):
    """The last answer to one question, kept for a moment: several people look at one page, each again and again.

    ``monotonic``: seconds.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._known: tuple[Hashable, float, T] | None = None
        self._asking = asyncio.Lock()

    async def of(self, subject: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer that is kept, or a new one. ``subject``: what it is about; of another one nothing is kept."""
        async with self._asking:
            began = self._monotonic()
            if self._known is not None and self._known[0] == subject and began < self._known[1]:
                return self._known[2]
            answer = await ask()
            now = self._monotonic()
            self._known = subject, now + min(AT_MOST, max(AT_LEAST, SHARE * (now - began))), answer
            return answer
