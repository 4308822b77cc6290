"""Interrupting what a task awaits, for a given reason.

``asyncio.timeout`` turns its own cancellation into TimeoutError; an ``Interrupter`` does the same for reasons that come
from callbacks: a stall, a client that left, a shutdown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Interrupter:
    """The interruptible waits of one task, which awaits through ``wait``. Any code on the same loop may ``interrupt``
    it.

    ``loop``: None for the one that runs. (To ask which that is costs a system call.)
    """

    __slots__ = ("_cancelled", "_owner", "_reason", "_task", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.loop = asyncio.get_running_loop() if loop is None else loop
        self._owner: asyncio.Task[Any] | None = None
        self._task: asyncio.Task[Any] | None = None  # the owner, while it waits
        self._reason: Exception | None = None
        self._cancelled = False

    def interrupt(self, reason: Exception) -> None:
        """Make the present or the next ``wait`` raise ``reason``. A reason that is pending already is kept."""
        if self._reason is not None:
            return
        self._reason = reason
        if self._task is not None:
            self._cancelled = True
            self._task.cancel()

    async def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Await ``work``, or raise the reason of an interruption instead. Each reason is raised once."""
        if self._reason is not None:
            work.close()
            raise self._take()
        task = self._owner
        if task is None:
            task = self._owner = asyncio.current_task(self.loop)
            assert task is not None
        self._task = task
        try:
            return await work
        except asyncio.CancelledError:
            if not self._cancelled:
                raise
            self._cancelled = False
            if task.uncancel() > 0:
                raise  # the task was cancelled from outside as well, which comes first
            raise self._take() from None
        finally:
            self._task = None
            if self._cancelled:  # the work ended nevertheless; the next wait raises the reason
                self._cancelled = False
                task.uncancel()

    def retire(self) -> None:
        """Let go of the task, which is about to end, so that no reference cycle is left for the garbage collector."""
        self._owner = None

    def _take(self) -> Exception:
        reason, self._reason = self._reason, None
        assert reason is not None
        return reason


def _ignore() -> None:
    """The callback of a stopped watchdog, which does nothing."""


class Watchdog:
    """One timer for all the waits of an attempt: a wait moves the deadline, the timer follows lazily.

    ``expired``: called when a deadline passes.
    """

    __slots__ = ("_armed_for", "_deadline", "_expired", "_loop", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[], None]) -> None:
        self._loop = loop
        self._expired = expired
        self._deadline: float | None = None
        self._armed_for = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, deadline: float) -> None:
        """Call ``expired`` once the loop's time reaches ``deadline``, unless the deadline is moved or removed
        before.
        """
        self._deadline = deadline
        if self._timer is None or deadline < self._armed_for:
            self._arm(deadline)

    def rest(self) -> None:
        """Remove the deadline: nothing is waited for at present."""
        self._deadline = None

    def stop(self) -> None:
        """Never call ``expired`` again, and drop it, since it often refers back to the watchdog's owner."""
        self._deadline = None
        self._expired = _ignore
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed_for = at
        self._timer = self._loop.call_at(at, self._fire)

    def _fire(self) -> None:
        self._timer = None
        if self._deadline is None:
            return
        if self._loop.time() < self._deadline:
            self._arm(self._deadline)
            return
        self._deadline = None
        self._expired()
