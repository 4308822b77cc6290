"""Alerts of budgets as stores keep them: what every engine does with them."""

from __future__ import annotations

from typing import Protocol

from gateway.stores.records import AlertState, KnownAlerts, StoredAlert


class AlertRecords(Protocol):
    """The alerts of budgets: those that are still to be told, and those that were."""

    async def known(self) -> KnownAlerts:
        """Every alert that is kept, oldest first. Raise StoreError."""
        ...

    async def record(self, alert: StoredAlert) -> bool:
        """Return once it is durable; False if another gateway has raised the same one, which is not told again.

        Raise errors.ledger_unavailable().
        """
        ...

    async def end(self, id: str, state: AlertState) -> None:
        """Return once it is durable how telling the alert ended. Raise errors.ledger_unavailable()."""
        ...

    async def forget_time_before(self) -> None:
        """From now on ``told_before`` is False. Raise errors.ledger_unavailable()."""
        ...
