"""Reading the store for pages, so that neither a store that hangs nor people who look on can stop the gateway's work.

At most ``AT_ONCE`` reads run, however many look on; what waits longer than ``WITHIN`` is told so, while the read goes
on: a thread in the middle of one cannot be stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, TypeVarTuple, cast

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

    async def whole(self, read: Callable[[], Awaitable[T]]) -> T:
        """The same without a limit of time: for a reader that others need not wait for."""
        async with self._slots:
            return await read()

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

    One asks, and goes on asking when all have given up: else a store that takes longer than they wait would be asked
    anew for ever, and never be shown. What it refuses is kept likewise. ``monotonic``: seconds.
    """

    def __init__(self, tasks: TrackedTasks, monotonic: Callable[[], float]) -> None:
        self._tasks = tasks
        self._monotonic = monotonic
        self._asking: tuple[Hashable, asyncio.Task[None]] | None = None
        self._known: _Known[T] | None = None

    async def of(self, subject: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer that is kept, or a new one. ``subject``: what it is about; of another one nothing is kept."""
        known = self._known
        if known is None or known.subject != subject or self._monotonic() >= known.until:
            asking = self._asking
            if asking is None or asking[0] != subject or asking[1].done():
                asking = subject, self._tasks.spawn(self._ask(subject, ask), "console-books")
                self._asking = asking
            await asyncio.wait((asking[1],))
            known = self._known
            if known is None or known.subject != subject:
                asking[1].result()  # it crashed, or the gateway ends
                raise StoreError("The books were asked about another day meanwhile. Load the page anew.")
        if known.error is not None:
            raise known.error.with_traceback(None)
        return known.answer

    async def _ask(self, subject: Hashable, ask: Callable[[], Awaitable[T]]) -> None:
        began, error, answer = self._monotonic(), None, cast("T", None)
        try:
            answer = await ask()
        except (StoreError, GatewayError) as refused:
            error = refused
        now = self._monotonic()
        kept = min(AT_MOST, max(AT_LEAST, SHARE * (now - began)))
        self._known = _Known(subject, now + kept, answer, error)


@dataclass(frozen=True, slots=True)
class _Known(Generic[T]):
    """``until``: by the monotonic clock. ``answer``: if there is no ``error``."""

    subject: Hashable
    until: float
    answer: T
    error: StoreError | GatewayError | None
