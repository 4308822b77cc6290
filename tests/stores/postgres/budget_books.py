"""Intents, settlements and corrections as the ledger writes them, on a connection of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gateway.core.exchange_record import ExchangeRecord
from gateway.core.pricing.budget_errors import Holder
from gateway.core.pricing.calendar import PeriodKind
from gateway.core.pricing.claims import Claim, ClaimRefused, Claims, holder_text
from gateway.stores.postgres.admitting import admit
from gateway.stores.postgres.budget_check import budget_problems
from gateway.stores.postgres.budgets import PostgresBudgets
from gateway.stores.postgres.migrating import migrate
from gateway.stores.postgres.pool import PostgresPool
from gateway.stores.postgres.settling import settle_claims

NOW = 1_700_000_000_000_000_000
"""14 November 2023, 22:13:20 UTC."""

HOUR = 3600 * 10**9
DAY = 24 * HOUR
DAY_START = NOW - NOW % DAY

ALICE: Holder = ("key", "alice")
GROWTH: Holder = ("team", "growth")


def claim(holder: Holder, limit: int | None, kind: PeriodKind = "total") -> Claim:
    """A claim on a budget of the day or of all time."""
    if limit is None:
        return Claim(holder)
    return Claim(holder, limit, kind, *((DAY_START, DAY_START + DAY) if kind == "day" else (0, None)))


def counts(holder: Holder, key: str, team: str | None, model: str) -> bool:
    """``SharedBudgets.counts``, where a pattern is a beginning."""
    if holder[0] == "team":
        return holder[1] == team
    return holder[1] == key and (len(holder) == 2 or model.startswith(holder[2].removesuffix("*")))


def intent(id: str, claims: Sequence[Claim], amount: int | None, **fields: Any) -> ExchangeRecord:
    """An intent that claims ``amount``."""
    plain = {"at_ns": NOW, "key": "alice", "team": "growth", "route": "chat", "model": "gpt-4o", "request_id": id}
    record = ExchangeRecord(id, **{**plain, "reserved": amount or 0, **fields})
    record.claims = Claims(claims, amount)
    return record


class Books:
    """The ledger's transactions, one gateway's."""

    def __init__(self, pool: PostgresPool, gateway: str = "gw_one") -> None:
        self.pool = pool
        self.gateway = gateway
        self.budgets = PostgresBudgets(pool)

    @classmethod
    async def open(cls, url: str, gateway: str = "gw_one") -> Books:
        pool = await PostgresPool.open(url, gateway)
        async with pool.connection() as connection:
            await migrate(connection, NOW, "books")
            await connection.execute("SELECT make_ledger_months($1, $2)", NOW - 40 * DAY, NOW + 40 * DAY)
        return cls(pool, gateway)

    async def close(self) -> None:
        await self.pool.close()

    async def prepare(self, *claims: Claim, counting: Callable[..., bool] = counts) -> None:
        await self.budgets.prepare(claims, counting, NOW)

    async def admit(self, *intents: ExchangeRecord) -> Mapping[str, ClaimRefused]:
        async with self.pool.transaction() as connection:
            return await admit(self.gateway, connection, intents, 10.0)

    async def settle(
        self, *ends: tuple[str, str, int], doubtful: Mapping[str, int] | None = None, again: bool = True
    ) -> None:
        """``ends``: id, state, and what it is charged. ``again``: what budgets are told is told them twice."""
        async with self.pool.transaction() as connection:
            for id, state, charged in ends:
                at_ns = await connection.fetchval("DELETE FROM open_intents WHERE id = $1 RETURNING at_ns", id)
                await connection.execute(
                    "INSERT INTO settlements (id, intent_ns, at_ns, state, attempts, input_tokens, cached_input_tokens,"
                    " output_tokens, images, charged, upstream_cost, confidence, status, cache_write_tokens,"
                    " reasoning_tokens) VALUES ($1, $2, $2, $3, '[]', 0, 0, 0, 0, $4, 0, 'measured', 200, 0, 0)",
                    id,
                    at_ns,
                    state,
                    charged,
                )
            await settle_claims(connection, [id for id, _, _ in ends], doubtful or {})
        if again:
            async with self.pool.transaction() as connection:
                await settle_claims(connection, [id for id, _, _ in ends])

    async def correct(self, id: str, state: str, charged: int) -> None:
        async with self.pool.transaction() as connection:
            await connection.execute(
                "INSERT INTO corrections (id, intent_ns, at_ns, state, charged, upstream_cost, images, reason,"
                " confidence)"
                " SELECT $1, intent_ns, intent_ns, $2, $3, 0, 0, 'told', 'measured' FROM settlements WHERE id = $1",
                id,
                state,
                charged,
            )
            await settle_claims(connection, [id])

    async def used(self, holder: Holder, kind: str = "total") -> tuple[int, int, int]:
        """What is charged, reserved, and of that held."""
        async with self.pool.connection() as connection:
            row = await connection.fetchrow(
                "SELECT charged, reserved, held FROM budgets WHERE holder = $1 AND kind = $2 ORDER BY start_ns LIMIT 1",
                holder_text(holder),
                kind,
            )
        assert row is not None
        return tuple(row)

    async def problems(self) -> list[str]:
        async with (
            self.pool.connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            return await budget_problems(connection)
