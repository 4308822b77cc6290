"""Interrupting what a task awaits, for a given reason.

``asyncio.timeout`` turns its own cancellation into TimeoutError; an ``Interrupter`` does the same for reasons that come
from callbacks: a stall, a client that left, a shutdown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any


class Interrupter:
    """The interruptible waits of one task: what it awaits ``with`` this. Any code on the same loop may ``interrupt``
    them.

        with interrupter:
            await anything

    A ``with`` raises the reason of an interruption, whether that comes while it waits or came before; each reason is
    raised once. ``loop``: the one that all of it runs in.
    """

    __slots__ = ("_cancelled", "_reason", "_task", "_waiting", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._task: asyncio.Task[Any] | None = None
        self._waiting = False
        self._reason: Exception | None = None
        self._cancelled = False

    def interrupt(self, reason: Exception) -> None:
        """Make the present or the next wait raise ``reason``. A reason that is pending already is kept."""
        if self._reason is not None:
            return
        self._reason = reason
        if self._waiting:
            assert self._task is not None
            self._cancelled = True
            self._task.cancel()

    def __enter__(self) -> None:
        if self._reason is not None:
            self.raise_pending()
        if self._task is None:
            self._task = asyncio.current_task(self.loop)
        self._waiting = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._waiting = False
        if self._cancelled:
            self._turn_into_reason(error)

    def _turn_into_reason(self, error: BaseException | None) -> None:
        """A wait has ended that was cancelled for a reason."""
        self._cancelled = False
        assert self._task is not None
        others = self._task.uncancel()
        # If the work ended nevertheless, the next wait raises the reason. If the task was cancelled from outside as
        # well, that comes first.
        if isinstance(error, asyncio.CancelledError) and others == 0:
            self.raise_pending()

    def raise_pending(self) -> None:
        """Raise the reason of an interruption that came and was not raised yet, if there is one."""
        if self._reason is not None:
            raise self._take() from None

    def _take(self) -> Exception:  # so that no frame of the raised reason refers to it
        reason, self._reason = self._reason, None
        assert reason is not None
        return reason

    def retire(self) -> None:
        """Let go of the task, which is about to end, so that no reference cycle is left for the garbage collector."""
        self._task = None


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
