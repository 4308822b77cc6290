"""Settling in the books, inside a transaction of the caller's: what is open, and what comes after all.

A settlement whose intent is open takes its place. One that finds another settlement changes nothing, but where that was
written by a gateway that took its own for dead: there it becomes a correction. One without an intent is written all the
same, with its intent if it brings that along: the server may have lost it in a crash.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gateway.stores.postgres import inserts
from gateway.stores.postgres.settling import claim_again
from gateway.stores.postgres.writing import as_storable
from gateway.stores.records import Correction, ExchangeRecord

if TYPE_CHECKING:
    from gateway.stores.postgres.pool import Connection

log = logging.getLogger("gateway.stores")

LATE = "settled after another gateway had taken over"
"""The reason of a correction by the gateway that was taken for dead."""

_FOUND = (
    "SELECT intent_ns, state, left_by FROM settlements WHERE id = $1 AND ($2::bigint = 0 OR intent_ns = $2::bigint)"
)

_CORRECTION = """
INSERT INTO corrections (
    id, intent_ns, at_ns, state, charged, upstream_cost, images, upstream, credential, reason, confidence, price,
    input_tokens, cached_input_tokens, output_tokens
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) ON CONFLICT (id) DO NOTHING
"""

_LEFT_OPEN = """
WITH taken AS (
    DELETE FROM open_intents AS o USING (
        SELECT id FROM open_intents WHERE gateway = ANY ($1::text[]) ORDER BY id LIMIT $2 FOR UPDATE
    ) AS l
    WHERE o.id = l.id RETURNING o.id, o.at_ns, o.gateway
)
INSERT INTO settlements (
    id, intent_ns, at_ns, state, attempts, input_tokens, cached_input_tokens, output_tokens, images, charged,
    upstream_cost, confidence, status, task_id, cache_write_tokens, reasoning_tokens, left_by
)
SELECT
    i.id, i.at_ns, $3, CASE WHEN i.paid_by IS NULL THEN 'unknown' ELSE 'settled' END, '[]', 0, 0, 0, 0, 0, 0,
    CASE WHEN i.paid_by IS NULL THEN 'unknown' ELSE 'measured' END, 0,
    (SELECT k.task_id FROM tasks AS k WHERE k.exchange = i.id ORDER BY k.at_ns DESC, k.number DESC LIMIT 1), 0, 0,
    t.gateway
FROM taken AS t JOIN intents AS i ON i.id = t.id AND i.at_ns = t.at_ns
ON CONFLICT DO NOTHING
RETURNING id
"""


async def book(
    connection: Connection,
    settlements: Sequence[ExchangeRecord],
    prices: Sequence[int | None],
    gateway: str,
    within: float,
) -> list[str]:
    """Settle. Returns the ids that are settled, or corrected, by this. ``prices``: what ``BookedPrices`` calls them.

    No id may be given twice. Raises the errors of asyncpg; ``inserts.unfit`` if one of them fits no row.
    """
    taken = await inserts.insert_settlements(connection, settlements, prices, within)
    done = [one.id for one in settlements if one.id in taken]
    for settlement, price in zip(settlements, prices, strict=True):
        if settlement.id not in taken and await _settle_what_is_not_open(connection, settlement, price, gateway):
            done.append(settlement.id)
    return done


async def settle_left(connection: Connection, gateways: Sequence[str], now_ns: int, most: int) -> list[str]:
    """Settle at most ``most`` requests that these gateways left open, as ``unknown``; returns their ids.

    Each is given the newest task that was created for it, so that what became of it can be asked. Of one that another
    row paid for it is known: it bought nothing.
    """
    return [row["id"] for row in await connection.fetch(_LEFT_OPEN, list(gateways), most, now_ns)]


async def write_correction(
    connection: Connection,
    correction: Correction,
    intent_ns: int,
    price: int | None,
    tokens: tuple[int, int, int] | None = None,
) -> bool:
    """Add a correction of what is unknown; False if there is one already. ``intent_ns``: when it came in.

    ``tokens``: of the input, those of them that were cached, of the output; None leaves them to the settlement.
    """
    status: str = await connection.execute(
        _CORRECTION,
        correction.id,
        intent_ns,
        correction.at_ns,
        correction.state,
        correction.charged,
        correction.upstream_cost,
        correction.images,
        correction.upstream,
        correction.credential,
        as_storable(correction.reason),
        correction.confidence,
        price,
        *(tokens or (None, None, None)),
    )
    return status.endswith(" 1")


async def _settle_what_is_not_open(
    connection: Connection, settlement: ExchangeRecord, price: int | None, gateway: str
) -> bool:
    found = await connection.fetchrow(_FOUND, settlement.id, settlement.at_ns)
    if found is None:
        return await _settle_alone(connection, settlement, price, gateway)
    if found["left_by"] is None or found["state"] != "unknown" or settlement.state == "unknown":
        return False
    usage = settlement.usage
    correction = Correction(
        settlement.id,
        settlement.settled_ns,
        settlement.state,
        settlement.charged,
        settlement.upstream_cost,
        usage.images,
        LATE,
        settlement.upstream,
        settlement.credential,
        settlement.confidence,
    )
    tokens = (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens)
    written = await write_correction(connection, correction, found["intent_ns"], price, tokens)
    if not written:
        await _tell_of_another(connection, correction)
    return written


async def _tell_of_another(connection: Connection, late: Correction) -> None:
    """Say so where what is known already is not what the gateway says that was taken for dead: it may have bought, too,
    and no key is charged for that.
    """
    charged, cost = await connection.fetchrow("SELECT charged, upstream_cost FROM corrections WHERE id = $1", late.id)
    if (charged, cost) != (late.charged, late.upstream_cost):
        log.error(
            "%s is corrected already, as charged %d and costing %d nano-dollars; the gateway that was taken for dead "
            "says %d and %d: compare with the upstream's bill (usage --reconcile)",
            *(late.id, charged, cost, late.charged, late.upstream_cost),
        )


async def _settle_alone(connection: Connection, settlement: ExchangeRecord, price: int | None, gateway: str) -> bool:
    """Nothing is open, and nothing was settled. A release that moved no money needs no intent."""
    moved = settlement.state != "released" or settlement.charged or settlement.upstream_cost
    intent_ns = settlement.at_ns or await _came_in(connection, settlement.id) or settlement.settled_ns
    await connection.execute("SELECT make_ledger_months($1, $1)", intent_ns)
    if moved and settlement.key and settlement.at_ns:
        await inserts.insert_lost_intent(connection, settlement, gateway)
        await claim_again(connection, settlement, gateway)
    return await inserts.insert_settlement(connection, settlement, price, intent_ns)


async def _came_in(connection: Connection, identity: str) -> int | None:
    found: int | None = await connection.fetchval("SELECT at_ns FROM intents WHERE id = $1 LIMIT 1", identity)
    return found
