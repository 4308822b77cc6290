"""Where upstreams keep what they answered: for which virtual key, at which of them, under which of its keys.

A place is known as soon as it is noted, ahead of the disk; what waits is written together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from gateway.core.errors import GatewayError, StoreError, ledger_unavailable
from gateway.core.in_force import InForce
from gateway.responses.kept import SWEEP_EVERY, KeepSettings
from gateway.responses.shared import LATE
from gateway.runtime.ports import Clock
from gateway.runtime.tasks import TrackedTasks
from gateway.stores.fleet_records import Leases
from gateway.stores.response_records import KeptPlace, Place, ResponsePlaceRecords
from gateway.telemetry.log import Log

MOST_PLACES = 200_000
"""Ids whose place is known; of more, the oldest of the key that has most go. Each takes some 200 bytes."""

MOST_OF_AN_ANSWER = 1_000
"""Ids of one answer that are noted, the first ones; the first of all is the response's own."""

_LONGEST_ID = 512

_NS = 1_000_000_000


class ResponsePlaces:
    """``records``: the store's. ``in_force``: how long they are kept. ``leases``: of several gateways, which of them
    lets go of what is old; None for one that has the store alone.
    """

    def __init__(
        self,
        records: ResponsePlaceRecords,
        clock: Clock,
        log: Log,
        tasks: TrackedTasks,
        in_force: InForce[KeepSettings],
        leases: Leases | None = None,
    ) -> None:
        self._leases = leases
        self._records = records
        self._clock = clock
        self._log = log
        self._tasks = tasks
        self._in_force = in_force
        self._waiting: dict[tuple[str, str], KeptPlace] = {}
        self._writing: asyncio.Task[None] | None = None

    def note(self, key: str, ids: Iterable[str], place: Place) -> None:
        """What these ids name is kept there for this key, or was gone on from just now. Never blocks, never raises."""
        now = self._clock.wall_ns()
        named = [id for id in dict.fromkeys(ids) if 0 < len(id) <= _LONGEST_ID][:MOST_OF_AN_ANSWER]
        self._waiting |= {(key, id): KeptPlace(key, id, place, now) for id in named}
        if named and self._writing is None:
            self._writing = self._tasks.spawn(self._write(), "response-places")

    @property
    def shared(self) -> bool:
        """Whether other gateways note places, too."""
        return self._leases is not None

    async def find(self, key: str, ids: Iterable[str], *, late: bool = False) -> dict[str, Place]:
        """The places of those of these ids that are known to the key. ``late``: look again for those that another
        gateway may have noted just now. Raises 503 if the store cannot be read.
        """
        wanted = [*ids]
        found = await self._find(key, wanted)
        for pause in LATE if late and self.shared else ():
            if found.keys() >= set(wanted):
                break
            await asyncio.sleep(pause)
            found = await self._find(key, wanted)
        return found

    async def _find(self, key: str, ids: Iterable[str]) -> dict[str, Place]:
        wanted = [id for id in dict.fromkeys(ids) if 0 < len(id) <= _LONGEST_ID]
        found = {id: noted.place for id in wanted if (noted := self._waiting.get((key, id))) is not None}
        missing = [id for id in wanted if id not in found]
        if missing:
            try:
                found |= await self._records.find(key, missing)
            except StoreError as error:
                self._log.error("responses_not_read", message=str(error))
                raise ledger_unavailable() from None
        return found

    async def forget(self, key: str, id: str) -> None:
        """It is kept there no longer. Raises 503 if the store cannot be written."""
        await self.written()
        await self._records.forget(key, id)

    async def written(self) -> None:
        """Return once what waits is written, or could not be."""
        while self._writing is not None:
            await asyncio.wait({self._writing})

    async def watch(self) -> None:
        """Let go of what is too old or too much, every now and then; for ever."""
        while True:
            keep = self._in_force.snapshot.responses_keep
            try:
                if self._leases is None or await self._leases.hold("response-places-age-out", 3 * SWEEP_EVERY):
                    await self._records.sweep(self._clock.wall_ns() - int(keep * _NS), MOST_PLACES)
            except (GatewayError, StoreError) as error:
                self._log.error("responses_not_aged_out", message=str(error))
            await asyncio.sleep(max(1.0, min(SWEEP_EVERY, keep / 10)))

    async def _write(self) -> None:
        try:
            while self._waiting:
                batch = [*self._waiting.items()]
                try:
                    await self._records.keep([one for _, one in batch])
                except GatewayError as error:
                    self._log.error("responses_not_kept", number=len(batch), message=error.message)
                for name, one in batch:
                    if self._waiting.get(name) is one:
                        del self._waiting[name]
        finally:
            self._writing = None
