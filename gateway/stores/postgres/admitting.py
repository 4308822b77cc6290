"""What requests may cost, decided by the database for all gateways, in the transaction that writes their intents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gateway.core.exchange_record import ExchangeRecord
from gateway.core.pricing.budgets import UNKNOWN_HELD_NS
from gateway.core.pricing.claims import Claim, ClaimRefused, Claims

if TYPE_CHECKING:
    import asyncpg

_ADMIT = "SELECT * FROM admit_claims($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"


async def admit(
    gateway_id: str, connection: asyncpg.Connection[Any], intents: Sequence[ExchangeRecord]
) -> Mapping[str, ClaimRefused]:
    """Reserve what intents claim of budgets, one after the other, in one statement. Returns those that are refused, by
    id: they must not be written down.

    Of the others, ``reserved`` is what was granted from now on. Once a transaction, before the intents are written in
    it; given again after a commit that was in doubt, the same is granted. Raises the errors of asyncpg.
    """
    asking = [(intent, intent.claims) for intent in intents if intent.claims is not None and intent.claims.claims]
    if not asking:
        return {}
    all_claims = [(number, claim) for number, (_, claims) in enumerate(asking, 1) for claim in claims.claims]
    rows = await connection.fetch(
        _ADMIT,
        gateway_id,
        UNKNOWN_HELD_NS,
        [intent.id for intent, _ in asking],
        [intent.at_ns for intent, _ in asking],
        [claims.least for _, claims in asking],
        [claims.most for _, claims in asking],
        [number for number, _ in all_claims],
        [claim.text for _, claim in all_claims],
        [claim.kind for _, claim in all_claims],
        [claim.start_ns for _, claim in all_claims],
        [claim.limit for _, claim in all_claims],
    )
    for _, claims in asking:
        claims.granted, claims.short = claims.most, None
    refused: dict[str, ClaimRefused] = {}
    for number, granted, short, *used in rows:
        intent, claims = asking[number - 1]
        claims.granted = granted
        if short is not None:
            refusal = _refusal(all_claims[short - 1][1], claims, granted, used)
            if granted is None:
                refused[intent.id] = refusal
            claims.short = refusal
    for intent, claims in asking:
        if claims.granted is not None:
            intent.reserved = claims.granted
    return refused


def _refusal(claim: Claim, claims: Claims, granted: int | None, used: Sequence[int | None]) -> ClaimRefused:
    """Why a budget has no room for what was asked: for the least if nothing was granted, else for the most."""
    asked = claims.least if granted is None else claims.most
    charged, reserved, held = used
    if charged is None or reserved is None or held is None:
        return ClaimRefused(claim, asked, missing=True)
    return ClaimRefused(claim, asked, charged=charged, reserved=reserved, held=held)
