"""The care of a store while it serves: looked through after a bad end, and marked so that the next start is quick."""

from __future__ import annotations

import asyncio

from gateway.runtime.tasks import TrackedTasks
from gateway.stores.base import Store
from gateway.telemetry.log import Log

MARK_EVERY = 600.0
"""Seconds between two notes of how far the books are settled."""

SPILL = "spill"
"""The folder of what waits for a store that is gone, within ``images.dir``."""

WATCH_EVERY = 1.0
"""Seconds between two looks whether the store is still in its place."""


def tell_of_opening(store: Store, log: Log) -> None:
    """Say what opening the store brought to light."""
    if store.made:
        log.info("store_made", store=store.name, message=f"made a new store: {store.name}")
    if store.recovered:
        log.warning("ledger_recovered", unknown=store.recovered, advice="piapi-gateway ledger held")
    if store.booked_late:
        log.warning("ledger_booked_late", settlements=store.booked_late)


def start_care(store: Store, log: Log, tasks: TrackedTasks) -> None:
    """Look after the store from now on, and watch its place."""
    tasks.spawn(look_after(store, log), "store")
    tasks.spawn(watch_place(store, log), "store-place")


async def look_after(store: Store, log: Log) -> None:
    """Look the store through if need be, then note for ever how far its books are settled."""
    if store.unchecked:
        await _look_through(store, log)
    while True:
        await asyncio.sleep(MARK_EVERY)
        await store.mark()


async def watch_place(store: Store, log: Log) -> None:
    """Say when the store is taken from its place, and when it is back; for ever."""
    found = ""
    while True:
        await asyncio.sleep(WATCH_EVERY)
        finding = await store.watch()
        if finding and finding != found:
            log.error("store_gone", store=store.name, message=f"no more requests are taken: {finding}")
        elif found and not finding:
            log.warning("store_back", store=store.name, message="requests are taken again")
        found = finding


async def _look_through(store: Store, log: Log) -> None:
    log.warning(
        "store_check",
        store=store.name,
        state="begun",
        message="its last gateway did not end well; it is looked through while this one serves",
    )

    def told(part: str, number: int, parts: int) -> None:
        log.info("store_check", store=store.name, state="running", part=part, number=number, parts=parts)

    finding = await store.check(told)
    if finding:
        log.error("store_check", store=store.name, state="damaged", message=f"no more requests are taken: {finding}")
    else:
        log.info("store_check", store=store.name, state="well")
