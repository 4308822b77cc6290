"""The budgets of all gateways in PostgreSQL: begun with the books, looked at, given back. Implements
``stores.budget_records.BudgetRecords``.

Requests are admitted and settled in the ledger's own transactions (admitting.py, settling.py).
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.core.errors import StoreError, ledger_unavailable
from gateway.core.pricing.budget_errors import Holder
from gateway.core.pricing.budgets import UNKNOWN_HELD_NS
from gateway.core.pricing.charged_sums import Charges, charged_by_holder, charged_by_model
from gateway.core.pricing.claims import Claim, ClaimRefused, holder_of
from gateway.stores.budget_records import CountedBudget, Counts, GivenBack
from gateway.stores.postgres.admitting import refusal
from gateway.stores.postgres.open_exchanges import charged_since
from gateway.stores.postgres.pool import PostgresPool

if TYPE_CHECKING:
    import asyncpg

log = logging.getLogger("gateway.stores")

BEGINNING = 0x62756467
"""The advisory lock of the one that begins budgets with the books."""

FORGET_NS = 2 * UNKNOWN_HELD_NS
"""Nanoseconds after its end for which a period's row is kept."""

LOOKED_BACK = timedelta(seconds=35)
"""How far before the newest change that was seen the next look begins: a transaction that changes a row becomes visible
when it is committed, which the server's time-outs let it be no later."""

_OPEN = """
SELECT i.id, i.at_ns, i.key, i.team, i.model, i.gateway, coalesce(r.amount, i.reserved) AS amount, false AS held
FROM open_intents AS o JOIN intents AS i ON i.id = o.id AND i.at_ns = o.at_ns
LEFT JOIN reservations AS r ON r.id = i.id WHERE i.paid_by IS NULL
UNION
SELECT i.id, i.at_ns, i.key, i.team, i.model, i.gateway, coalesce(r.amount, i.reserved), true
FROM settlements AS s JOIN intents AS i ON i.id = s.id AND i.at_ns = s.intent_ns
LEFT JOIN reservations AS r ON r.id = i.id
WHERE s.state = 'unknown' AND s.intent_ns > $1 AND NOT EXISTS (SELECT FROM corrections AS c WHERE c.id = s.id)
UNION
SELECT i.id, i.at_ns, i.key, i.team, i.model, i.gateway, r.amount, true
FROM reservations AS r JOIN intents AS i ON i.id = r.id AND i.at_ns = r.at_ns WHERE r.held
"""
"""What runs, or is held: a few rows, however much the books hold."""

_JOIN = """
WITH joining AS (
    SELECT id, at_ns, gateway, amount, held, array_agg(budget ORDER BY budget) AS budgets
    FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::boolean[], $6::bigint[])
        AS j (id, at_ns, gateway, amount, held, budget)
    GROUP BY id, at_ns, gateway, amount, held
), known AS (
    INSERT INTO reservations AS r (id, at_ns, until_ns, gateway, amount, held, charged, budgets)
    SELECT j.id, j.at_ns, j.at_ns + $7, j.gateway, j.amount, j.held, coalesce(s.charged, 0), j.budgets
    FROM joining AS j LEFT JOIN settlements AS s ON s.id = j.id AND s.intent_ns = j.at_ns
    ON CONFLICT (id) DO UPDATE SET budgets = r.budgets || excluded.budgets
), sums AS (
    SELECT budget, sum(amount) AS reserved, coalesce(sum(amount) FILTER (WHERE held), 0) AS held
    FROM joining CROSS JOIN unnest(budgets) AS budget GROUP BY budget
)
UPDATE budgets AS b SET reserved = b.reserved + s.reserved, held = b.held + s.held, changed_at = clock_timestamp()
FROM sums AS s WHERE b.id = s.budget
"""

_BEGIN = """
INSERT INTO budgets AS b (holder, kind, start_ns, end_ns)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])
ON CONFLICT (holder, kind, start_ns) DO UPDATE SET epoch = b.epoch + 1
RETURNING b.id, b.holder, b.kind, b.start_ns, b.epoch, b.charged
"""

_END = """
UPDATE budgets AS b SET charged = b.charged + x.more, seeded = true, changed_at = clock_timestamp()
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS x (id, epoch, more) WHERE b.id = x.id AND b.epoch = x.epoch
"""


class _Begun(NamedTuple):
    """A row that begins with the books. ``charged``: what it had counted at that moment."""

    id: int
    claim: Claim
    epoch: int
    charged: int


class PostgresBudgets:
    """The budgets of one gateway's fleet."""

    def __init__(self, pool: PostgresPool) -> None:
        self._pool = pool
        self._looked: datetime | None = None
        self._failing = False

    async def prepare(self, wanted: Sequence[Claim], counts: Counts, now_ns: int) -> None:
        """See BudgetRecords. What is admitted and settled meanwhile waits only while rows are made, not while the books
        are added up: those are read as they were at that moment, and what comes later is counted as it comes.
        """
        wanted = list({(claim.holder, claim.kind, claim.start_ns): claim for claim in wanted}.values())
        async with self._usable(), self._pool.connection() as own, self._pool.connection() as reader:
            await own.execute("SELECT pg_advisory_lock($1)", BEGINNING)  # let go of with the connection, if not below
            try:
                await self._begin_and_end(own, reader, wanted, counts, now_ns)
            finally:
                if not own.is_closed():
                    await own.execute("SELECT pg_advisory_unlock($1)", BEGINNING)

    async def _begin_and_end(
        self,
        own: asyncpg.Connection[Any],
        reader: asyncpg.Connection[Any],
        wanted: Sequence[Claim],
        counts: Counts,
        now_ns: int,
    ) -> None:
        counted = await _counted(own, wanted)
        due = [claim for claim in wanted if _place(claim) not in counted or len(claim.holder) == 3]
        if not due:
            return
        async with reader.transaction(isolation="repeatable_read", readonly=True):
            async with own.transaction():
                await own.execute("SELECT pg_advisory_xact_lock(budgets_lock())")
                await reader.execute("SELECT 1")  # from here on it sees the books as they are now
                begun = await _begin(own, due)
                await _join(own, begun, counts, now_ns)
            more = await _not_counted(reader, begun, counts)
        ids = [one.id for one in begun]
        async with own.transaction():
            await own.execute("SELECT FROM budgets WHERE id = ANY ($1) ORDER BY id FOR UPDATE", ids)  # as all lock them
            await own.execute(_END, ids, [one.epoch for one in begun], more)

    async def raise_to(self, id: str, amount: int, claims: Sequence[Claim]) -> ClaimRefused | None:
        """See BudgetRecords."""
        async with self._usable(), self._pool.connection() as connection:
            row = await connection.fetchrow(
                "SELECT * FROM raise_claims($1, $2, $3, $4, $5, $6)",
                id,
                amount,
                [claim.text for claim in claims],
                [claim.kind for claim in claims],
                [claim.start_ns for claim in claims],
                [claim.limit for claim in claims],
            )
        if row is None:
            return None
        return refusal(claims[row["short"] - 1], amount, row["charged"], row["reserved"], row["held"])

    async def changed(self) -> Sequence[CountedBudget]:
        """See BudgetRecords."""
        since = None if self._looked is None else self._looked - LOOKED_BACK
        async with self._usable(), self._pool.connection() as connection:
            rows = await connection.fetch(
                "SELECT holder, kind, start_ns, charged, reserved, held, changed_at FROM budgets "
                "WHERE seeded AND ($1::timestamptz IS NULL OR changed_at > $1)",
                since,
            )
        newest = max((row["changed_at"] for row in rows), default=self._looked)
        self._looked = newest
        return [CountedBudget(holder_of(row[0]), *row[1:6]) for row in rows]

    async def give_back(self, now_ns: int) -> Sequence[GivenBack]:
        """See BudgetRecords."""
        async with self._usable(), self._pool.connection() as connection:
            rows = await connection.fetch("SELECT * FROM give_back_claims($1, $2)", now_ns, now_ns - FORGET_NS)
        return [GivenBack(row["id"], tuple(map(holder_of, row["holders"])), row["amount"]) for row in rows]

    async def held(self) -> Mapping[str, int]:
        """See BudgetRecords."""
        async with self._usable(), self._pool.connection() as connection:
            return dict(await connection.fetch("SELECT id, amount FROM reservations WHERE held"))

    @asynccontextmanager
    async def _usable(self) -> AsyncIterator[None]:
        try:
            yield
        except StoreError as error:
            if not self._failing:
                log.error("budgets cannot be counted: %s", error)
            self._failing = True
            raise ledger_unavailable() from error
        self._failing = False


def _place(claim: Claim) -> tuple[str, str, int]:
    return claim.text, claim.kind, claim.start_ns


async def _counted(connection: asyncpg.Connection[Any], wanted: Sequence[Claim]) -> set[tuple[str, str, int]]:
    """Those of these budgets that are counted already."""
    rows = await connection.fetch(
        "SELECT holder, kind, start_ns FROM budgets WHERE seeded AND holder = ANY ($1)",
        list({claim.text for claim in wanted}),
    )
    return {tuple(row) for row in rows}


async def _begin(connection: asyncpg.Connection[Any], due: Sequence[Claim]) -> list[_Begun]:
    """Make the rows of these budgets, or let those that are there begin again."""
    claims = {_place(claim): claim for claim in due}
    rows = await connection.fetch(
        _BEGIN,
        [claim.text for claim in due],
        [claim.kind for claim in due],
        [claim.start_ns for claim in due],
        [claim.end_ns for claim in due],
    )
    return [_Begun(row["id"], claims[tuple(row[1:4])], row["epoch"], row["charged"]) for row in rows]


async def _join(connection: asyncpg.Connection[Any], begun: Sequence[_Begun], counts: Counts, now_ns: int) -> None:
    """Let what runs, or is held, count on these rows, too, as far as it belongs to their periods."""
    open_ = await connection.fetch(_OPEN, now_ns - UNKNOWN_HELD_NS)
    known = {
        (row["id"], budget)
        for row in await connection.fetch(
            "SELECT id, budgets FROM reservations WHERE budgets && $1", [one.id for one in begun]
        )
        for budget in row["budgets"]
    }
    of_key: dict[Holder, list[_Begun]] = {}
    for one in begun:
        holder = one.claim.holder
        of_key.setdefault((holder[0], holder[1]), []).append(one)
    joining = [
        (row["id"], row["at_ns"], row["gateway"], row["amount"], row["held"], one.id)
        for row in open_
        for one in _candidates(of_key, row["key"], row["team"])
        if _within(one.claim, row["at_ns"])
        and (row["id"], one.id) not in known
        and counts(one.claim.holder, row["key"], row["team"], row["model"])
    ]
    if joining:
        await connection.execute(_JOIN, *map(list, zip(*joining, strict=True)), UNKNOWN_HELD_NS)


def _candidates(of_key: Mapping[Holder, Sequence[_Begun]], key: str, team: str | None) -> Iterable[_Begun]:
    yield from of_key.get(("key", key), ())
    if team is not None:
        yield from of_key.get(("team", team), ())


def _within(claim: Claim, at_ns: int) -> bool:
    return claim.start_ns <= at_ns and (claim.end_ns is None or at_ns < claim.end_ns)


async def _not_counted(connection: asyncpg.Connection[Any], begun: Sequence[_Begun], counts: Counts) -> list[int]:
    """What the books have charged each of these budgets beyond what it had counted when it began."""
    charges: dict[tuple[int, int | None], Charges] = {}
    for one in begun:
        period = (one.claim.start_ns, one.claim.end_ns)
        if period not in charges:
            charges[period] = await charged_since(connection, *period)
    owners = {period: charged_by_holder(charged) for period, charged in charges.items()}
    models = {period: _models_of_keys(charged) for period, charged in charges.items()}
    more = []
    for one in begun:
        period, holder = (one.claim.start_ns, one.claim.end_ns), one.claim.holder
        if len(holder) == 2:
            charged = owners[period].get(holder, 0)
        else:
            used = models[period].get(holder[1], {})
            charged = sum(nano for model, nano in used.items() if counts(holder, holder[1], None, model))
        more.append(charged - one.charged)
    return more


def _models_of_keys(charged: Charges) -> dict[str, dict[str, int]]:
    """What each key was charged for each model."""
    keys: dict[str, dict[str, int]] = {}
    for (key, model), nano in charged_by_model(charged).items():
        keys.setdefault(key, {})[model] = nano
    return keys
