"""What was learned of how long orders take, as stores keep it beyond a restart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.core.routing.durations import Histogram, OrderKind


class DurationRecords(Protocol):
    """One row for each kind of order. It is an aid: a gateway serves without it."""

    async def all(self) -> Sequence[tuple[OrderKind, Histogram]]:
        """Everything that is kept; a row that cannot be read is left out. Raise StoreError."""
        ...

    async def keep(self, changed: Sequence[tuple[OrderKind, Histogram | None]]) -> None:
        """Return once the kinds are durable as they are now; None is for one that is to be forgotten.

        What is given is not looked at any more once this has begun to wait. Raise errors.ledger_unavailable().
        """
        ...
