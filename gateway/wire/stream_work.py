"""The bound on what a stream may send that says nothing: comments, blank lines, empty events, pings, usage repeated.

Each costs the gateway as much work as a piece of an answer does, and at line speed they would keep a processor busy for
as long as their sender likes. A stream begins with a credit, earns some with every event that brings the answer on, and
is broken once it has none left. So a ping a second for half an hour is well within it, and so are several behind every
chunk; a hundred thousand in one second are not.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.wire.sse import Comment, Event

CREDIT = 20_000
"""The most that a stream may have in credit: events that say nothing. A ping every 90 ms for half an hour."""

EARNED = 32
"""Credit for an event that brings the answer on: as many comments may follow each."""

BYTES_AN_EVENT = 4096
"""Bytes of events without meaning that cost as much as one more such event, so that few huge ones count as well."""

OVERDRAWN = "events, comments or lines without meaning, and no end of them"
"""What the log says of such a stream."""


class StreamWork:
    """The credit of one stream."""

    __slots__ = ("_credit", "_progress", "_silent")

    def __init__(self) -> None:
        self._credit = CREDIT
        self._progress = 0
        self._silent = 0

    def overdrawn(self, events: Sequence[Event | Comment], progress: int, silent: int) -> bool:
        """Count what a piece of the stream brought; returns whether the stream's credit is used up.

        ``events``: those of the piece. ``progress``: events that have brought the answer on, in all the stream so far.
        ``silent``: lines that became no event at all, likewise (``SSEParser.silent``).
        """
        return self.spent(len(events), sum([len(event[-1]) for event in events]), progress, silent)

    def spent(self, events: int, size: int, progress: int, silent: int) -> bool:
        """The same for so many events, of ``size`` bytes."""
        gained, quiet = progress - self._progress, silent - self._silent
        self._progress, self._silent = progress, silent
        if gained > 0 and self._credit < CREDIT:
            self._credit = min(CREDIT, self._credit + EARNED * gained)
        meaningless = quiet if gained >= events else events - gained + quiet
        if meaningless:
            self._credit -= meaningless
            if gained <= 0:
                self._credit -= size // BYTES_AN_EVENT
        return self._credit < 0
