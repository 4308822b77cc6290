"""What was learned of how long orders take, as stores keep it beyond a restart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.core.routing.durations import Histogram, LearnedChange, OrderKind


class DurationRecords(Protocol):
    """One row for each kind of order. It is an aid: a gateway serves without it."""

    async def all(self) -> Sequence[tuple[OrderKind, Histogram]]:
        """Everything that is kept; a row that cannot be read is left out. Raise StoreError."""
        ...

    async def keep(self, changed: Sequence[LearnedChange], half_life: float) -> Sequence[tuple[OrderKind, Histogram]]:
        """Return once the changes are durable: the kinds that are not as they are known here, as they are kept now.

        ``half_life``: seconds after which an order counts half. Where several gateways share a store, what each has
        seen is added to what the others have. What is given is not looked at any more once this has begun to wait.
        Raise errors.ledger_unavailable().
        """
        ...

    async def news(self) -> Sequence[tuple[OrderKind, Histogram]]:
        """The kinds that another gateway has changed since this or ``all`` was last asked. Raise StoreError."""
        ...
