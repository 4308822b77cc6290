"""The kept answers of the Responses API: found by their key, gone on from, forgotten, aged out.

An answer is there for its key as soon as it is kept, ahead of the disk; what waits is written together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any, Protocol

import orjson

from gateway.core.errors import ClientError, GatewayError, StoreError, ledger_unavailable, shorten
from gateway.core.in_force import InForce
from gateway.responses.shared import LATE, SharedResponses
from gateway.runtime.off_loop import off_loop
from gateway.runtime.ports import Clock
from gateway.runtime.tasks import TrackedTasks
from gateway.stores.response_records import MAX_CHAIN, HistoryTooLong, ResponseRecords, StoredResponse
from gateway.telemetry.log import Log
from gateway.wire.responses.answer import as_stored
from gateway.wire.responses.presenter import last_event_of

SWEEP_EVERY = 600.0
"""Seconds between two looks for answers that are too old, at most."""

_SWEEPS = 10
"""Looks in the time that an answer is kept."""

_NS = 1_000_000_000
_EVENT_END = b"\n\n"


class KeepSettings(Protocol):
    """The settings that are read here: seconds and bytes."""

    @property
    def responses_keep(self) -> float: ...
    @property
    def responses_keep_max(self) -> int: ...


class KeptResponses:
    """``records``: the store's. ``in_force``: how long they are kept, and how much of them. ``fleet``: what other
    gateways make of them; None for a gateway that has the store alone.
    """

    def __init__(
        self,
        records: ResponseRecords,
        clock: Clock,
        log: Log,
        tasks: TrackedTasks,
        in_force: InForce[KeepSettings],
        fleet: SharedResponses | None = None,
    ) -> None:
        self.fleet = fleet
        self._records = records
        self._clock = clock
        self._log = log
        self._tasks = tasks
        self._in_force = in_force
        self._waiting: dict[str, StoredResponse] = {}
        self._writing: asyncio.Task[None] | None = None
        self._held = 0
        self.under_way: set[str] = set()
        """Those that an earlier process began and that are brought to their end here."""

    def keep(self, record: StoredResponse) -> None:
        """Keep an answer, or a newer state of it. Never blocks, never raises."""
        self._waiting[record.id] = record
        if self._writing is None:
            self._writing = self._tasks.spawn(self._write(), "responses")

    async def find(self, key: str, id: str) -> StoredResponse:
        """The key's answer of that id. Raises ClientError 404, 503 if the store cannot be read."""
        for pause in self._pauses:
            await asyncio.sleep(pause)
            record = self._waiting.get(id)
            if record is None:
                record = await self._read(self._records.find(key, id))
            if record is not None:
                break
        if record is None or record.key != key:
            raise response_not_found()
        return record

    @property
    def _pauses(self) -> tuple[float, ...]:
        """Seconds before each look for what is not there."""
        return (0.0,) if self.fleet is None else (0.0, *LATE)

    async def before(self, key: str, id: str, most: int) -> list[StoredResponse]:
        """The key's answer of that id behind all that it goes on from, the oldest first.

        Raises ClientError 404 ``previous_response_not_found`` if it, or one of those, is not there; HistoryTooLong if
        they have more than ``most`` bytes.
        """
        for pause in self._pauses[:-1]:
            try:
                return await self._before(key, id, most)
            except ClientError:
                await asyncio.sleep(pause or LATE[0])
        return await self._before(key, id, most)

    async def _before(self, key: str, id: str, most: int) -> list[StoredResponse]:
        newest: list[StoredResponse] = []
        missing: str | None = id
        while missing is not None and (record := self._waiting.get(missing)) is not None and len(newest) < MAX_CHAIN:
            if record.key != key:
                raise previous_not_found(id)
            newest.append(record)
            missing = record.previous
        left = most - sum(record.size for record in newest)
        if left < 0:
            raise HistoryTooLong
        chain = [] if missing is None else [*await self._read(self._records.chain(key, missing, left))]
        chain += reversed(newest)
        if not chain or chain[-1].id != id or chain[0].previous is not None:
            raise previous_not_found(id)
        return chain

    async def items(self, key: str, ids: Iterable[str]) -> Mapping[str, Any]:
        """The items of these ids that the key's answers have, by id."""
        wanted = frozenset(ids)
        if not wanted:
            return {}
        stored = await self._read(self._records.with_items(key, sorted(wanted)))
        waiting = [one for one in self._waiting.values() if one.key == key and not wanted.isdisjoint(one.items)]
        return await off_loop(_items_in, [*stored, *waiting], wanted)

    async def end(self, key: str, response: Mapping[str, Any]) -> None:
        """A response that is kept as under way has ended like this. Raises as ``find`` does."""
        record = await self.find(key, response["id"])
        made = (item["id"] for item in response["output"])
        events = record.events
        if events:
            events += last_event_of(response, events.count(_EVENT_END))
        answer, items = await off_loop(as_stored, response), tuple(dict.fromkeys((*record.items, *made)))
        self.keep(replace(record, answer=answer, events=events, items=items))

    async def forget(self, key: str, id: str) -> None:
        """Forget the key's answer of that id. Raises ClientError 404, 503 if the store cannot be written."""
        record = await self.find(key, id)
        await self.written()
        await self._records.forget(key, id)
        self._held -= record.size

    async def written(self) -> None:
        """Return once what waits is written, or could not be."""
        while self._writing is not None:
            await asyncio.wait({self._writing})

    async def watch(self) -> None:
        """Let go of what is too old, every now and then; for ever."""
        try:
            self._held = await self._records.held()
        except StoreError as error:
            self._log.error("responses_not_read", message=str(error))
        while True:
            await self._sweep()
            await asyncio.sleep(max(1.0, min(SWEEP_EVERY, self._in_force.snapshot.responses_keep / _SWEEPS)))

    async def _write(self) -> None:
        try:
            while self._waiting:
                batch = [*self._waiting.values()]
                await self._write_batch(batch)
                for record in batch:
                    if self._waiting.get(record.id) is record:
                        del self._waiting[record.id]
                if self._held > self._in_force.snapshot.responses_keep_max:
                    await self._sweep()
        finally:
            self._writing = None

    async def _write_batch(self, batch: Sequence[StoredResponse]) -> None:
        try:
            await self._records.keep(batch)
        except GatewayError as error:
            self._log.error("responses_not_kept", number=len(batch), message=error.message)
        else:
            self._held += sum(record.size for record in batch)

    async def _sweep(self) -> None:
        settings = self._in_force.snapshot
        keep, most = settings.responses_keep, settings.responses_keep_max
        if self.fleet is not None and not await self.fleet.leases.hold("responses-age-out", 3 * SWEEP_EVERY):
            return
        try:
            removed = await self._records.sweep(self._clock.wall_ns() - int(keep * _NS), most)
            self._held = await self._records.held()  # what was written anew had been counted again
            if removed:
                self._log.info("responses_aged_out", number=removed)
        except (GatewayError, StoreError) as error:
            self._log.error("responses_not_aged_out", message=str(error))

    async def _read(self, reading: Any) -> Any:
        try:
            return await reading
        except StoreError as error:
            self._log.error("responses_not_read", message=str(error))
            raise ledger_unavailable() from None


def _items_in(records: Sequence[StoredResponse], wanted: Set[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for record in records:
        items = (*orjson.loads(record.input), *orjson.loads(record.answer)["output"])
        found |= {item["id"]: item for item in items if item.get("id") in wanted}
    return found


def response_not_found() -> ClientError:
    """404, the same for one that does not exist and for another key's."""
    return ClientError(
        404,
        "invalid_request_error",
        "response_not_found",
        "There is no such response: this key made none of this id here, or it is kept no longer.",
        param="response_id",
    )


def previous_not_found(id: str) -> ClientError:
    """404 for a response that cannot be gone on from."""
    return ClientError(
        404,
        "invalid_request_error",
        "previous_response_not_found",
        f"Previous response with id '{shorten(id)}' not found: this key made none here that is still kept, with all "
        "that it goes on from.",
        param="previous_response_id",
    )
