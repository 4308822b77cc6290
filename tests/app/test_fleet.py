"""The fleet on a real PostgreSQL: who is counted, who is taken over, and by whom."""

from __future__ import annotations

import asyncio
import inspect
import io
import json
from collections.abc import AsyncIterator, Collection
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.app import fleet as fleets
from gateway.app.fleet import Fleet, OnDead
from gateway.core.errors import StoreError
from gateway.exchange.services import Gate
from gateway.runtime.ports import SystemClock
from gateway.runtime.tasks import TrackedTasks
from gateway.shared_state.alone import Alone
from gateway.stores.gateway_records import GatewayState
from gateway.stores.postgres.gateways import PostgresGateways
from gateway.stores.postgres.migrating import migrate
from gateway.stores.postgres.pool import PostgresPool
from gateway.telemetry.log import Log
from tests.engines import PostgresServer

DEAD = GatewayState("gw_dead", 1, "0.1.0", "there", 7, "http://127.0.0.1:1", "http://127.0.0.1:2", 3)


class Books:
    """The part of a ledger that a fleet asks."""

    def __init__(self) -> None:
        self.pending = 0
        self.settled: list[str] = []

    def usable(self) -> bool:
        return True

    async def settle_left(self, gateways: Collection[str]) -> int:
        self.settled += gateways
        return 1


class Member:
    """One gateway of the fleet, as far as the fleet is concerned. ``out``: its log."""

    def __init__(self, pool: PostgresPool, id: str, *on_dead: OnDead) -> None:
        self.books, self.out = Books(), io.StringIO()
        self.failed: list[BaseException] = []
        self.tasks = TrackedTasks(lambda _, error: self.failed.append(error))
        self.log = Log("json", "info", None, self.out)
        services: Any = SimpleNamespace(
            clock=SystemClock(), gate=Gate(10), shared=Alone(), tasks=self.tasks, log=self.log, gateway_id=id
        )
        store: Any = SimpleNamespace(gateways=PostgresGateways(pool), ledger=self.books)
        self.fleet = Fleet(services, store, on_dead)

    async def begin(self) -> None:
        await self.fleet.join()
        self.tasks.spawn(self.fleet.watch("http://127.0.0.1:8400", "http://127.0.0.1:8401"), "fleet")

    def events(self) -> list[str]:
        self.log.flush()
        return [json.loads(line)["event"] for line in self.out.getvalue().splitlines()]


@pytest.fixture
async def pool(postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PostgresPool]:
    monkeypatch.setattr(fleets, "BEAT_EVERY", 0.05)
    opened = await PostgresPool.open(postgres_server.new_database(), "test")
    async with opened.connection() as connection:
        await migrate(connection, 1, opened.name)
    yield opened
    await opened.close()


async def die(pool: PostgresPool, id: str) -> None:
    """A gateway that was there, and has been silent for longer than its lease."""
    await PostgresGateways(pool).beat(replace(DEAD, id=id))
    async with pool.connection() as connection:
        await connection.execute("UPDATE gateways SET seen_at = seen_at - interval '16 seconds' WHERE id = $1", id)


async def known(pool: PostgresPool) -> set[str]:
    return {one.state.id for one in await PostgresGateways(pool).all()}


async def until(wanted: Any) -> None:
    async with asyncio.timeout(20):
        while not (wanted() if not inspect.iscoroutinefunction(wanted) else await wanted()):
            await asyncio.sleep(0.01)


async def test_a_dead_gateway_is_taken_over_by_one_its_books_first(pool: PostgresPool) -> None:
    order: list[tuple[str, str]] = []

    def member(id: str) -> Member:
        async def taken(dead: str) -> None:
            order.append((id, dead))
            assert made.books.settled[-1] == dead

        made = Member(pool, id, taken)
        return made

    members = [member(f"gw_{number}") for number in range(3)]
    for one in members:
        await one.begin()
    await until(lambda: all(one.fleet.size == 3 for one in members))
    await die(pool, "gw_dead")

    async def forgotten() -> bool:
        return len(order) == 1 and "gw_dead" not in await known(pool)

    await until(forgotten)
    [(taker, dead)] = order
    assert dead == "gw_dead"
    await until(lambda: any("taken_over" in one.events() for one in members))
    for number, one in enumerate(members):
        assert one.books.settled == (["gw_dead"] if taker == f"gw_{number}" else [])
        assert ("taken_over" in one.events()) == (taker == f"gw_{number}")
        assert one.failed == []
        await one.tasks.cancel_all()


async def test_several_that_share_no_limits_are_told_of_once(pool: PostgresPool) -> None:
    first, second = Member(pool, "gw_1"), Member(pool, "gw_2")
    await first.begin()
    await asyncio.sleep(0.2)
    assert "limits_not_shared" not in first.events()
    await second.begin()
    await until(lambda: "limits_not_shared" in first.events())
    await until(lambda: "limits_not_shared" in second.events())
    await asyncio.sleep(0.3)
    assert first.events().count("limits_not_shared") == 1
    for member in (first, second):
        await member.tasks.cancel_all()


async def test_one_that_lives_is_counted_and_described_and_leaves(pool: PostgresPool) -> None:
    one, other = Member(pool, "gw_one"), Member(pool, "gw_other")
    await one.begin()
    await other.begin()
    await until(lambda: one.fleet.size == 2)
    told = {entry["id"]: entry for entry in await one.fleet.describe()}
    assert {id: (entry["self"], entry["state"]) for id, entry in told.items()} == {
        "gw_one": (True, "live"),
        "gw_other": (False, "live"),
    }
    assert told["gw_other"]["sees"] == {"store": True, "shared_state": True}
    other.books.pending = 1  # a row is not committed yet
    await other.tasks.cancel_all()
    leaving = other.tasks.spawn(other.fleet.leave(), "leave")
    await asyncio.sleep(0.1)
    assert "gw_other" in await known(pool)
    other.books.pending = 0
    await leaving
    assert await known(pool) == {"gw_one"}
    await until(lambda: one.fleet.size == 1)
    assert one.books.settled == []
    await one.tasks.cancel_all()


async def test_what_fails_is_tried_again_and_the_lease_is_kept_meanwhile(pool: PostgresPool) -> None:
    tries = 0
    go_on = asyncio.Event()

    async def taken(dead: str) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise StoreError("the store is away")
        await go_on.wait()

    one = Member(pool, "gw_one", taken)
    await one.begin()
    await die(pool, "gw_dead")
    await until(lambda: tries == 2)
    seen = next(entry.seen_at_ns for entry in await PostgresGateways(pool).all() if entry.state.id == "gw_one")

    async def beats_on() -> bool:
        entries = {entry.state.id: entry.seen_at_ns for entry in await PostgresGateways(pool).all()}
        return entries["gw_one"] > seen

    await until(beats_on)  # though the taking over hangs
    assert "gw_dead" in await known(pool)
    go_on.set()

    async def forgotten() -> bool:
        return "gw_dead" not in await known(pool)

    await until(forgotten)
    assert one.events().count("take_over_failed") == 1
    assert one.failed == []
    await one.tasks.cancel_all()


async def test_it_is_surely_alive_for_less_than_its_lease_after_a_beat(
    pool: PostgresPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = Member(pool, "gw_1")
    assert not member.fleet.surely_alive()
    await member.fleet.join()
    assert member.fleet.surely_alive()
    clock = member.fleet._services.clock
    monotonic, wall_ns = clock.monotonic(), clock.wall_ns()
    later = SimpleNamespace(monotonic=lambda: monotonic + fleets.LEASE, wall_ns=lambda: wall_ns)
    monkeypatch.setattr(member.fleet._services, "clock", later)
    assert not member.fleet.surely_alive()
    slept = SimpleNamespace(monotonic=lambda: monotonic, wall_ns=lambda: wall_ns + 20 * 10**9)
    monkeypatch.setattr(member.fleet._services, "clock", slept)
    assert not member.fleet.surely_alive()
    await member.tasks.cancel_all()
