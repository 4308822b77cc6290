"""Writing down what became of exchanges whose outcome was unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.stores.postgres.booking import write_correction
from gateway.stores.postgres.writing import storable
from gateway.stores.records import Correction, NotUnknown

if TYPE_CHECKING:
    from gateway.stores.postgres.pool import Connection


async def correct(connection: Connection, correction: Correction, price: int | None) -> bool:
    """Inside a transaction: add a correction; False if the exchange has one already.

    Raises NotUnknown if the exchange is not of unknown outcome.
    """
    find = "SELECT state, intent_ns FROM settlements WHERE id = $1"
    found = await connection.fetchrow(find, correction.id) if storable(correction.id) else None
    if found is None:
        raise NotUnknown(f"Exchange {correction.id} is not settled yet, or was never seen.")
    if found["state"] != "unknown":
        raise NotUnknown(f"Exchange {correction.id} is {found['state']}; only one of unknown outcome can be corrected.")
    return await write_correction(connection, correction, found["intent_ns"], price)
