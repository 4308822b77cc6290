"""What requests may cost, decided by the database for all gateways, in the statement that writes their intents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from gateway.core.exchange_record import ExchangeRecord
from gateway.core.pricing.budgets import UNKNOWN_HELD_NS
from gateway.core.pricing.claims import Claim, ClaimRefused
from gateway.stores.postgres.inserts import intent_row

if TYPE_CHECKING:
    from gateway.stores.postgres.pool import Connection

_ADMIT = """
WITH verdict AS MATERIALIZED (
    SELECT * FROM admit_claims(
        $12, $13, $1, $2, $14::bigint[], $15::integer[], $16::text[], $17::text[], $18::bigint[], $19::bigint[]
    )
), fresh AS (
    INSERT INTO intents (id, at_ns, key, team, route, model, request_id, reserved, paid, pieces, paid_by, gateway)
    SELECT
        i.id, i.at_ns, i.key, i.team, i.route, i.model, i.request_id, i.reserved, i.paid, i.pieces, i.paid_by,
        $12::text
    FROM unnest(
        $1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[],
        $9::boolean[], $10::integer[], $11::text[]
    ) WITH ORDINALITY
        AS i (id, at_ns, key, team, route, model, request_id, reserved, paid, pieces, paid_by, n)
    LEFT JOIN verdict AS v ON v.n = i.n
    WHERE v.n IS NULL
    ON CONFLICT DO NOTHING
    RETURNING id, at_ns, gateway
), opened AS (
    INSERT INTO open_intents (id, at_ns, gateway) SELECT id, at_ns, gateway FROM fresh ON CONFLICT DO NOTHING
)
SELECT * FROM verdict
"""
"""One statement, so that a budget that many spend from is locked no longer than the server takes for it."""


async def admit(
    gateway_id: str, connection: Connection, intents: Sequence[ExchangeRecord], within: float
) -> Mapping[str, ClaimRefused]:
    """Reserve what intents claim of budgets, one after the other, and write them down; those that are refused are not
    written, and returned by their ids.

    Given again after a commit that was in doubt, nothing is reserved twice. ``within``: seconds until TimeoutError.
    Raises the errors of asyncpg.
    """
    claimed = [
        (number, claim)
        for number, intent in enumerate(intents, 1)
        if intent.claims is not None
        for claim in intent.claims.claims
    ]
    amounts = [intent.reserved if intent.claims is None else intent.claims.amount for intent in intents]
    rows = await connection.fetch(
        _ADMIT,
        *zip(*map(intent_row, intents), strict=True),
        gateway_id,
        UNKNOWN_HELD_NS,
        amounts,
        [number for number, _ in claimed],
        [claim.text for _, claim in claimed],
        [claim.kind for _, claim in claimed],
        [claim.start_ns for _, claim in claimed],
        [claim.limit for _, claim in claimed],
        timeout=within,
    )
    return {
        intents[number - 1].id: refusal(claimed[short - 1][1], amounts[number - 1], *used)
        for number, short, *used in rows
    }


def refusal(
    claim: Claim, asked: int | None, charged: int | None, reserved: int | None, held: int | None
) -> ClaimRefused:
    """Why a budget has no room for what was asked. ``charged``, …: what others used; None if it is not counted."""
    if charged is None:
        return ClaimRefused(claim, asked, missing=True)
    return ClaimRefused(claim, asked, charged=charged, reserved=reserved or 0, held=held or 0)
