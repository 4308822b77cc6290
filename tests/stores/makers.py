"""Makers of rows, and waiting for a ledger: for every engine's tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gateway.stores.base import Ledger
from gateway.stores.records import AttemptRecord, ExchangeRecord, TaskRecord
from gateway.stores.settled_fields import settled_record

EXPENSIVE = AttemptRecord("piapi", "https://api.piapi.ai", "first", "ok", 4, cost=30)


class StoppedClock:
    """Time stands still, at a moment of 2023."""

    def monotonic(self) -> float:
        return 0.0

    def wall_ns(self) -> int:
        return 1_700_000_000_000_000_000


def intent(identity: str, **changes: Any) -> ExchangeRecord:
    plain = ExchangeRecord(
        identity, StoppedClock().wall_ns(), "alice", "growth", "chat", "gpt-4o", f"req-{identity}", 100
    )
    return replace(plain, **changes)


def settlement(identity: str, **changes: Any) -> ExchangeRecord:
    """The record of a request that has ended. ``changes``: by the names that the books have."""
    plain = {
        "id": identity,
        "at_ns": StoppedClock().wall_ns() + 1,
        "state": "settled",
        "upstream": "piapi",
        "endpoint": "https://api.piapi.ai",
        "credential": "first",
        "attempts": (EXPENSIVE,),
        "input_tokens": 10,
        "cached_input_tokens": 4,
        "output_tokens": 5,
        "images": 0,
        "charged": 40,
        "upstream_cost": 30,
        "confidence": "measured",
        "status": 200,
    }
    return settled_record(plain | changes)


def task(task_id: str, exchange: str, **changes: Any) -> TaskRecord:
    plain = TaskRecord(task_id, "piapi", "first", exchange, "alice", "flux-dev", StoppedClock().wall_ns())
    return replace(plain, **changes)


def released(identity: str) -> ExchangeRecord:
    return settlement(
        identity, state="released", attempts=(), input_tokens=0, cached_input_tokens=0, output_tokens=0,
        charged=0, upstream_cost=0, status=499,
    )  # fmt: skip


async def until(true: Callable[[], bool]) -> None:
    """Wait for what another thread brings about."""
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.005)


async def nothing_pending(ledger: Ledger) -> None:
    await until(lambda: ledger.pending == 0)
