"""The timers of one attempt: which wait may last how long, by the failover policy (Rule 5).

One timer of the loop serves them all. What comes only notes its time; the timer looks at that when it fires, and is set
again if there is time left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.core.routing.route_table import AttemptPlan
from gateway.core.types import CostClass
from gateway.translate.commands import Awaiting, Stalled

GRACE_AFTER_FINISH = 5.0
"""Seconds of silence after which an answer that named its finish reason counts as ended (fault row 37). Usage was seen
to come 3 s after it, and content after a tool that the upstream ran itself."""

PROGRESS_FACTOR = 2.0
"""Comments show that a host lives, not that it parts: content may lag by so many idle times (Rule 5: 60 s, 120 s)."""

NEVER = float("inf")


class DeadlinePassed(Exception):
    """The request as a whole took too long."""


class AttemptTimers:
    """What an attempt waits for at present, and until when. All times are the loop's, in seconds.

    ``deadline``: when the attempt must have ended; it may be moved. ``interrupt``: called with ``DeadlinePassed`` or
    ``Stalled`` when a wait has lasted too long.

    ``awaiting``: the event of the upstream's that is waited for; None for anything else.
    """

    __slots__ = (
        "_armed_for",
        "_bound_by_idle",
        "_head_at",
        "_interrupt",
        "_last_byte",
        "_last_progress",
        "_loop",
        "_progress",
        "_silence",
        "_timeouts",
        "_timer",
        "_waiting",
        "_wall",
        "awaiting",
        "deadline",
    )

    def __init__(
        self,
        plan: AttemptPlan,
        deadline: float,
        loop: asyncio.AbstractEventLoop,
        interrupt: Callable[[Exception], None],
    ) -> None:
        target, endpoint = plan.target, plan.endpoint
        self._loop = loop
        self._timeouts = target.upstream.timeouts
        self._wall = NEVER if endpoint.wall is None else endpoint.wall
        self._silence = self._wall
        self._interrupt = interrupt
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = 0.0
        self._waiting = False
        self._bound_by_idle = target.cost_class is CostClass.TOKENS
        self._last_byte = self._last_progress = self._head_at = self._loop.time()
        self._progress = 0
        self.awaiting: Awaiting | None = None
        self.deadline = deadline

    def sent(self, within: float | None, *, whole: bool) -> None:
        """A request goes out, and its head is waited for.

        ``within``: seconds for the head, and then for each piece; None leaves that to the policy.
        ``whole``: the answer comes in one piece, after a silence of any length.
        """
        self._silence = self._wall if within is None or within > self._wall else within
        self._bound_by_idle = self._bound_by_idle and not whole
        self._last_byte = self._loop.time()
        self.watch(Awaiting.HEAD)

    def head_came(self) -> None:
        """The head of an answer came."""
        self._last_byte = self._last_progress = self._head_at = self._loop.time()

    def byte_came(self) -> None:
        """A piece of the body came."""
        self._last_byte = self._loop.time()

    def taken(self, progress: int) -> None:
        """A piece of the body came and was taken at once (``byte_came``, ``content_came``)."""
        self._last_byte = self._loop.time()
        if progress != self._progress:
            self._progress = progress
            self._last_progress = self._last_byte

    def content_came(self, progress: int) -> None:
        """The last piece of the body brought content, if ``progress``, the count of its pieces, has grown."""
        if progress != self._progress:
            self._progress = progress
            self._last_progress = self._last_byte

    def excuse(self, seconds: float) -> None:
        """The client made us wait: for so long the upstream was not silent."""
        self._last_byte += seconds
        self._last_progress += seconds

    def watch(self, awaiting: Awaiting | None) -> None:
        """Wait for the upstream; None: for anything else, at most until the deadline."""
        self.awaiting = awaiting
        self._waiting = True
        until = self._until(awaiting)
        if self._timer is None or until < self._armed_for:
            self._arm(until)

    def rest(self) -> None:
        """Nothing is waited for."""
        self._waiting = False

    def stop(self) -> None:
        """Never interrupt again, and let go of the attempt."""
        self._waiting = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        del self._interrupt

    def _until(self, awaiting: Awaiting | None) -> float:
        """How long the wait may last."""
        if awaiting is None:
            return self.deadline
        timeouts, last_byte = self._timeouts, self._last_byte
        until = last_byte + self._silence
        if awaiting is Awaiting.FINISH:  # comments show that more may come, but not without end
            until = min(until, last_byte + GRACE_AFTER_FINISH, self._last_progress + timeouts.idle)
        elif not self._bound_by_idle:
            pass
        elif awaiting is Awaiting.HEAD:
            until = min(until, last_byte + timeouts.head)
        elif awaiting is Awaiting.CONTENT:
            until = min(until, self._head_at + timeouts.content)
        else:
            until = min(until, last_byte + timeouts.idle, self._last_progress + PROGRESS_FACTOR * timeouts.idle)
        return until if until < self.deadline else self.deadline

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed_for = at
        self._timer = self._loop.call_at(at, self._look)

    def _look(self) -> None:
        """The timer fired: bytes may have come meanwhile, or the wait is another one."""
        self._timer = None
        if not self._waiting:
            return
        now, awaiting = self._loop.time(), self.awaiting
        until = self._until(awaiting)
        if until > now:
            self._arm(until)
            return
        self._waiting = False
        if awaiting is None or until >= self.deadline:
            self._interrupt(DeadlinePassed())
        else:
            self._interrupt(Stalled(awaiting, round(now - self._last_byte, 1)))
