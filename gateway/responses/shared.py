"""Responses that other gateways make: whether one still does, and what clients of one gateway want of them.

A gateway that has died makes nothing any more: what it left under way has failed, once its lease has run out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from gateway.core.errors import GatewayError, StoreError
from gateway.runtime.tasks import TrackedTasks
from gateway.shared_state.base import Message, SharedState
from gateway.stores.fleet_records import FleetRecords, ResponseWish
from gateway.stores.gateway_records import GatewayRecords
from gateway.stores.response_records import StoredResponse
from gateway.telemetry.log import Log

LOOK_EVERY = 1.0
"""Seconds between two looks at what is wished, and for which it is taken as known who lives."""

LATE = (0.1, 0.3, 0.6)
"""Seconds until a response is looked for again that is not there: another gateway may just have answered with it."""


class SharedResponses:
    """``fleet``: the store's records. ``gateways``: who lives. ``shared``: how gateways tell one another."""

    def __init__(
        self, fleet: FleetRecords, gateways: GatewayRecords, shared: SharedState, log: Log, tasks: TrackedTasks
    ) -> None:
        self._records = fleet.responses
        self.leases = fleet.leases
        self._me = fleet.gateway
        self._gateways = gateways
        self._shared = shared
        self._log = log
        self._tasks = tasks
        self._living: frozenset[str] = frozenset()
        self._looked = float("-inf")
        self._news = asyncio.Event()
        self._done: set[str] = set()
        shared.listen("responses", self._heard)

    async def is_made_elsewhere(self, record: StoredResponse) -> bool:
        """Whether another gateway makes it now, of one that has not ended."""
        if record.gateway in ("", self._me):
            return False
        loop = asyncio.get_running_loop()
        if loop.time() - self._looked >= LOOK_EVERY:
            try:
                self._living = frozenset(one.state.id for one in await self._gateways.all() if one.live)
            except StoreError as trouble:
                self._log.error("gateways_not_read", message=str(trouble))
                return True  # nothing is known to have died
            self._looked = loop.time()
        return record.gateway in self._living

    async def ask(self, key: str, id: str, wish: ResponseWish) -> None:
        """The gateway that makes it is to do so. Raises errors.ledger_unavailable()."""
        await self._records.wish(key, id, wish)
        self._shared.tell("responses", {"id": id})

    def serve(self, made: Callable[[], Collection[str]], heed: Callable[[str, ResponseWish], None]) -> None:
        """Begin to heed wishes. ``made``: the ids of what is made here; ``heed``: is given each wish once."""
        self._tasks.spawn(self._watch(made, heed), "response-wishes")

    def _heard(self, _: Message) -> None:
        self._news.set()

    async def _watch(self, made: Callable[[], Collection[str]], heed: Callable[[str, ResponseWish], None]) -> None:
        while True:
            try:
                async with asyncio.timeout(LOOK_EVERY):
                    await self._news.wait()
            except TimeoutError:
                pass
            self._news.clear()
            if not (ids := made()):
                self._done.clear()
                continue
            try:
                wishes = await self._records.wishes(ids)
            except (StoreError, GatewayError) as trouble:
                self._log.error("responses_not_read", message=str(trouble))
                await asyncio.sleep(LOOK_EVERY)
                continue
            for id, wish in wishes.items():
                if id not in self._done:
                    self._done.add(id)
                    heed(id, wish)
