"""What requests may cost, decided by the database for all gateways, in the statement that writes their intents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gateway.core.exchange_record import ExchangeRecord
from gateway.core.pricing.budgets import UNKNOWN_HELD_NS
from gateway.core.pricing.claims import Claim, ClaimRefused, Claims
from gateway.stores.postgres.inserts import intent_row

if TYPE_CHECKING:
    from gateway.stores.postgres.pool import Connection

_ADMIT = """
WITH verdict AS MATERIALIZED (
    SELECT * FROM admit_claims(
        $12, $13, $1, $2, $14::bigint[], $8, $15::integer[], $16::text[], $17::text[], $18::bigint[], $19::bigint[]
    )
), fresh AS (
    INSERT INTO intents (id, at_ns, key, team, route, model, request_id, reserved, paid, pieces, paid_by, gateway)
    SELECT
        i.id, i.at_ns, i.key, i.team, i.route, i.model, i.request_id, coalesce(v.granted, i.reserved), i.paid, i.pieces,
        i.paid_by, $12::text
    FROM unnest(
        $1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[],
        $9::boolean[], $10::integer[], $11::text[]
    ) WITH ORDINALITY
        AS i (id, at_ns, key, team, route, model, request_id, reserved, paid, pieces, paid_by, n)
    LEFT JOIN verdict AS v ON v.n = i.n
    WHERE v.n IS NULL OR v.granted IS NOT NULL
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

    Of the others, ``reserved`` is what was granted from now on. Given again after a commit that was in doubt, the same
    is granted. ``within``: seconds until TimeoutError. Raises the errors of asyncpg.
    """
    given = [intent.claims for intent in intents]
    claimed = [
        (number, claim) for number, claims in enumerate(given, 1) if claims is not None for claim in claims.claims
    ]
    for intent, claims in zip(intents, given, strict=True):
        if claims is not None:
            intent.reserved, claims.granted, claims.short = claims.most, claims.most, None
    rows = await connection.fetch(
        _ADMIT,
        *zip(*map(intent_row, intents), strict=True),
        gateway_id,
        UNKNOWN_HELD_NS,
        [intent.reserved if claims is None else claims.least for intent, claims in zip(intents, given, strict=True)],
        [number for number, _ in claimed],
        [claim.text for _, claim in claimed],
        [claim.kind for _, claim in claimed],
        [claim.start_ns for _, claim in claimed],
        [claim.limit for _, claim in claimed],
        timeout=within,
    )
    refused: dict[str, ClaimRefused] = {}
    for number, granted, short, *used in rows:
        claims = given[number - 1]
        if claims is None:
            continue
        claims.granted = granted
        if granted is not None:
            intents[number - 1].reserved = granted
        if short is not None:
            claims.short = _refusal(claimed[short - 1][1], claims, granted, used)
            if granted is None:
                refused[intents[number - 1].id] = claims.short
    return refused


def _refusal(claim: Claim, claims: Claims, granted: int | None, used: Sequence[Any]) -> ClaimRefused:
    """Why a budget has no room for what was asked: for the least if nothing was granted, else for the most."""
    asked = claims.least if granted is None else claims.most
    charged, reserved, held = used
    if charged is None:
        return ClaimRefused(claim, asked, missing=True)
    return ClaimRefused(claim, asked, charged=charged, reserved=reserved, held=held)
