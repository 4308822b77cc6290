"""Who takes over a dead gateway: one alone, another if that one dies too, and none if it is back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from gateway.stores.gateway_records import GatewayState
from gateway.stores.postgres.gateways import PostgresGateways
from gateway.stores.postgres.migrating import migrate
from gateway.stores.postgres.pool import PostgresPool
from tests.engines import PostgresServer

STATE = GatewayState("", 1, "0.1.0", "here", 7, "http://127.0.0.1:1", "http://127.0.0.1:2", 3)


class Place:
    """A store's gateways, and a clock of the server that one can move for a single one."""

    def __init__(self, pool: PostgresPool) -> None:
        self.pool = pool
        self.gateways = PostgresGateways(pool)

    async def born(self, *ids: str) -> None:
        for id in ids:
            await self.gateways.beat(replace(STATE, id=id))

    async def silent(self, *ids: str) -> None:
        async with self.pool.connection() as connection:
            await connection.execute(
                "UPDATE gateways SET seen_at = seen_at - interval '16 seconds' WHERE id = ANY($1)", list(ids)
            )

    async def known(self) -> dict[str, bool]:
        return {one.state.id: one.live for one in await self.gateways.all()}


@pytest.fixture
async def place(postgres_server: PostgresServer) -> AsyncIterator[Place]:
    pool = await PostgresPool.open(postgres_server.new_database(), "test")
    async with pool.connection() as connection:
        await migrate(connection, 1, pool.name)
    yield Place(pool)
    await pool.close()


async def test_a_silent_gateway_is_claimed_by_one_alone_and_forgotten(place: Place) -> None:
    await place.born("gw_a", "gw_b", "gw_c", "gw_dead", "gw_late")
    await place.silent("gw_dead", "gw_late")
    assert await place.known() == {"gw_a": True, "gw_b": True, "gw_c": True, "gw_dead": False, "gw_late": False}
    claimed = await asyncio.gather(*(place.gateways.claim_dead(id) for id in ("gw_a", "gw_b", "gw_c")))
    assert sorted(id for each in claimed for id in each) == ["gw_dead", "gw_late"]
    winner = next(id for id, each in zip(("gw_a", "gw_b", "gw_c"), claimed, strict=True) if "gw_dead" in each)
    loser = next(id for id in ("gw_a", "gw_b", "gw_c") if id != winner)
    await place.gateways.forget("gw_dead", loser)
    assert "gw_dead" in await place.known()
    await place.gateways.forget("gw_dead", winner)
    assert "gw_dead" not in await place.known()


async def test_what_was_claimed_and_not_forgotten_is_given_again(place: Place) -> None:
    await place.born("gw_a", "gw_b", "gw_dead")
    await place.silent("gw_dead")
    assert await place.gateways.claim_dead("gw_a") == ["gw_dead"]
    assert await place.gateways.claim_dead("gw_b") == []
    assert await place.gateways.claim_dead("gw_a") == ["gw_dead"]
    await place.silent("gw_a")  # the one that took over dies over it
    assert await place.gateways.claim_dead("gw_b") == ["gw_a", "gw_dead"]


async def test_one_that_is_back_is_taken_over_by_none(place: Place) -> None:
    await place.born("gw_a", "gw_slept")
    await place.silent("gw_slept")
    assert await place.gateways.claim_dead("gw_a") == ["gw_slept"]
    await place.born("gw_slept")
    await place.gateways.forget("gw_slept", "gw_a")
    assert await place.known() == {"gw_a": True, "gw_slept": True}
    await place.silent("gw_slept")
    await place.gateways.claim_dead("gw_a")
    await place.gateways.forget("gw_slept", "gw_a")
    await place.born("gw_slept")  # even then
    assert await place.known() == {"gw_a": True, "gw_slept": True}


async def test_a_gateway_never_claims_itself(place: Place) -> None:
    await place.born("gw_a")
    await place.silent("gw_a")
    assert await place.gateways.claim_dead("gw_a") == []
