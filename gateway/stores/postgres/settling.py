"""What budgets are charged, by what the books have of requests that ended, in the transaction that writes that down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncpg

_NOTHING: Mapping[str, int] = MappingProxyType({})


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
