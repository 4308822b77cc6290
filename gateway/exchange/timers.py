"""The waits of a subrequest: what interrupts them, and which may last how long, by the failover policy (Rule 5).

One timer of the loop serves them all. What comes only notes its time; the timer looks at that when it fires, and is set
again if there is time left.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

from gateway.core.routing.route_table import AttemptPlan
from gateway.core.types import CostClass
from gateway.runtime.interruption import Interrupter
from gateway.runtime.ports import Clock
from gateway.translate.commands import Awaiting, Stalled

GRACE_AFTER_FINISH = 5.0
"""Seconds of silence after which an answer that named its finish reason counts as ended (fault row 37). Usage was seen
to come 3 s after it, and content after a tool that the upstream ran itself."""

PROGRESS_FACTOR = 2.0
"""Comments show that a host lives, not that it parts: content may lag by so many idle times (Rule 5: 60 s, 120 s)."""

NEVER = float("inf")


class DeadlinePassed(Exception):
    """The request as a whole took too long."""


class Waits(Interrupter):
    """The waits of a subrequest, one attempt after the other. All times but ``waited`` are the loop's, in seconds.

    ``deadline``: when the attempt must have ended; it may be moved. ``waited``: how long it waited for its upstream.
    ``awaiting``: the event of the upstream's that is waited for; None for anything else.
    """

    __slots__ = (
        "_armed_for",
        "_bound_by_idle",
        "_head_at",
        "_last_byte",
        "_last_progress",
        "_limited",
        "_now",
        "_progress",
        "_silence",
        "_since",
        "_timeouts",
        "_timer",
        "_wall",
        "awaiting",
        "deadline",
        "waited",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock) -> None:
        super().__init__(loop)
        self._now = clock.monotonic
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = 0.0
        self._limited = False
        self._since = self.waited = 0.0
        self.awaiting: Awaiting | None = None

    def begin(self, plan: AttemptPlan, deadline: float) -> None:
        """An attempt begins."""
        target, wall = plan.target, plan.endpoint.wall
        self._timeouts = target.upstream.timeouts
        self._silence = self._wall = NEVER if wall is None else wall
        self._bound_by_idle = target.cost_class is CostClass.TOKENS
        self._last_byte = self._last_progress = self._head_at = self.loop.time()
        self._progress = 0
        self.waited = 0.0
        self.deadline = deadline

    def wait(self, awaiting: Awaiting | None) -> Waits:
        """``with`` this, wait for the upstream; None: for anything else, at most until the deadline.

        The ``with`` raises what it is interrupted with, ``DeadlinePassed`` or ``Stalled`` when it lasts too long.
        """
        if self._reason is not None:
            self.raise_pending()
        self._since = self._now()
        self._limited = True
        self.expect(awaiting)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._limited:
            self._limited = False
            if self.awaiting is not None:
                self.waited += self._now() - self._since
        self._waiting = False
        if self._cancelled:
            self._turn_into_reason(error)

    def expect(self, awaiting: Awaiting | None) -> None:
        """The present wait is for another event."""
        self.awaiting = awaiting
        until = self._until(awaiting)
        if self._timer is None or until < self._armed_for:
            self._arm(until)

    def sent(self, within: float | None, *, whole: bool) -> None:
        """A request goes out.

        ``within``: seconds for the head, and then for each piece; None leaves that to the policy.
        ``whole``: the answer comes in one piece, after a silence of any length.
        """
        self._silence = self._wall if within is None or within > self._wall else within
        self._bound_by_idle = self._bound_by_idle and not whole
        self._last_byte = self.loop.time()

    def head_came(self) -> None:
        """The head of an answer came."""
        self._last_byte = self._last_progress = self._head_at = self.loop.time()

    def byte_came(self) -> None:
        """A piece of the body came."""
        self._last_byte = self.loop.time()

    def taken(self, progress: int) -> None:
        """A piece of the body came and was taken at once (``byte_came``, ``content_came``)."""
        self._last_byte = self.loop.time()
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

    def end(self) -> None:
        """The attempt has ended: there is nothing to wait for."""
        self._limited = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

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
        self._timer = self.loop.call_at(at, self._look)

    def _look(self) -> None:
        """The timer fired: bytes may have come meanwhile, or the wait is another one."""
        self._timer = None
        if not self._limited:
            return
        now, awaiting = self.loop.time(), self.awaiting
        until = self._until(awaiting)
        if until > now:
            self._arm(until)
            return
        if awaiting is None or until >= self.deadline:
            self.interrupt(DeadlinePassed())
        else:
            self.interrupt(Stalled(awaiting, round(now - self._last_byte, 1)))
