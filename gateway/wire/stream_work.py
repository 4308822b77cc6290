"""The bound on what a stream may send that says nothing: comments, blank lines, empty events, pings, usage repeated.

Each costs the gateway as much work as a piece of an answer does, and at line speed they would keep a processor busy for
as long as their sender likes. A stream begins with a credit, earns some with every event that brings the answer on, and
is broken once it has none left. So a ping a second for half an hour is well within it, and so are several behind every
chunk; a hundred thousand in one second are not.
"""

from __future__ import annotations

CREDIT = 20_000
"""The most that a stream may have in credit: events that say nothing. A ping every 90 ms for half an hour."""

EARNED = 32
"""Credit for an event that brings the answer on: as many comments may follow each."""

BYTES_AN_EVENT = 4096
"""Bytes of events without meaning that cost as much as one more such event, so that few huge ones count as well."""


class StreamWork:
    """The credit of one stream. ``overdrawn``: it is used up, and the stream is to be taken for broken."""

    __slots__ = ("_credit", "overdrawn")

    def __init__(self) -> None:
        self._credit = CREDIT
        self.overdrawn = False

    def count(self, meaningful: int, meaningless: int, size: int = 0) -> bool:
        """Count what a piece of the stream brought; returns ``overdrawn``.

        ``meaningful``, ``meaningless``: events, or what stands in their place. ``size``: bytes of those without meaning.
        """
        cost = meaningless + size // BYTES_AN_EVENT
        if meaningful:
            self._credit = min(CREDIT, self._credit + EARNED * meaningful)
        self._credit -= cost
        if self._credit < 0:
            self.overdrawn = True
        return self.overdrawn
