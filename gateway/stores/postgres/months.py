"""The months that the books have partitions for: made ahead, and when a row of another one comes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.stores.postgres.pool import Connection

AHEAD_NS = 45 * 24 * 3600 * 1_000_000_000
"""How long before a month begins its partitions are there: more than a month, so that one always is."""

_MAKE = "SELECT make_ledger_months($1, $2)"


class Months:
    """What this gateway knows to be there."""

    def __init__(self) -> None:
        self._known: set[tuple[int, int]] = set()
        self._first = self._last = 0  # within these no look is needed

    def missing(self, moments_ns: Iterable[int]) -> list[int]:
        """Moments, one of each month that is not known to be there."""
        outside = [moment for moment in moments_ns if not self._first <= moment < self._last]
        return list({month: moment for moment in outside if (month := _month(moment)) not in self._known}.values())

    async def make(self, connection: Connection, moments_ns: Iterable[int]) -> None:
        """Have partitions for the months of these moments."""
        for moment in moments_ns:
            await connection.fetchval(_MAKE, moment, moment)
            self._known.add(_month(moment))

    async def make_ahead(self, connection: Connection, now_ns: int) -> None:
        """Have partitions for this month and what is near."""
        await connection.fetchval(_MAKE, now_ns, now_ns + AHEAD_NS)
        self._first, self._last = now_ns, now_ns + AHEAD_NS


def _month(moment_ns: int) -> tuple[int, int]:
    try:
        moment = datetime.fromtimestamp(moment_ns // 1_000_000_000, UTC)
    except (ValueError, OverflowError, OSError):  # no year has it: the row will not be taken
        return 0, 0
    return moment.year, moment.month
