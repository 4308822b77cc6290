"""The gateways of a file: the one that has its lock. Nothing of it outlives the process, so nothing is written."""

from __future__ import annotations

import time

from gateway.stores.gateway_records import GatewayState, SeenGateway


class SQLiteGateways:
    """Implements ``stores.gateway_records.GatewayRecords``.

    What an earlier process left open was settled when the store was opened, so no dead one is ever taken over.
    """

    alone = True

    def __init__(self) -> None:
        self._own: SeenGateway | None = None

    async def beat(self, gateway: GatewayState) -> None:
        self._own = SeenGateway(gateway, time.time_ns(), True)

    async def all(self) -> list[SeenGateway]:
        return [] if self._own is None else [self._own]

    async def claim_dead(self, by: str) -> list[str]:
        return []

    async def forget(self, id: str, by: str) -> None:
        """There is none to forget."""

    async def leave(self, id: str) -> None:
        self._own = None
