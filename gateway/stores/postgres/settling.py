"""What budgets are charged, by what the books have of requests that ended, in the transaction that writes that down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from gateway.core.exchange_record import ExchangeRecord
from gateway.core.pricing.budget_errors import Holder
from gateway.core.pricing.budgets import UNKNOWN_HELD_NS
from gateway.core.pricing.charged_sums import holders_of
from gateway.core.pricing.claims import holder_text

if TYPE_CHECKING:
    import asyncpg

_NOTHING: Mapping[str, int] = MappingProxyType({})


_AGAIN = """
INSERT INTO reservations (id, at_ns, until_ns, gateway, amount, budgets)
SELECT $1::text, $2::bigint, $2::bigint + $3::bigint, $4::text, 0, array_agg(b.id ORDER BY b.id)
FROM budgets AS b
WHERE b.holder = ANY ($5::text[]) AND b.start_ns <= $2::bigint AND (b.end_ns IS NULL OR $2::bigint < b.end_ns)
HAVING count(*) > 0
ON CONFLICT (id) DO NOTHING
"""


async def settle_claims(
    connection: asyncpg.Connection[Any], ids: Sequence[str], doubtful: Mapping[str, int] = _NOTHING
) -> None:
    """Charge the budgets that exchanges count on, and free what these had reserved.

    ``ids``: of exchanges that were settled or corrected in this transaction. ``doubtful``: nano-dollars in doubt of
    those of which that is known: so much stays reserved, for a day; of one of unknown outcome that is not in it all
    that was reserved does. Once a transaction, after the settlements and corrections were written in it. A second time
    changes nothing. Raises the errors of asyncpg.
    """
    if ids:
        await connection.execute(
            "SELECT settle_claims($1, $2, $3)", list(ids), list(doubtful.keys()), list(doubtful.values())
        )


async def claim_again(connection: asyncpg.Connection[Any], settlement: ExchangeRecord, gateway_id: str) -> None:
    """Let budgets count an exchange whose intent the server has lost in a crash, and with it what it had reserved: they
    are charged when it is settled.

    In the transaction that settles it, before ``settle_claims``. Raises the errors of asyncpg.
    """
    holders: set[Holder] = {*holders_of(settlement.key, settlement.team)}
    if settlement.claims is not None:
        holders.update(claim.holder for claim in settlement.claims.claims)
    await connection.execute("SELECT pg_advisory_xact_lock_shared(budgets_lock())")
    await connection.execute(
        _AGAIN, settlement.id, settlement.at_ns, UNKNOWN_HELD_NS, gateway_id, list(map(holder_text, holders))
    )
