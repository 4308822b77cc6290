"""Writing down what became of exchanges whose outcome was unknown."""

from __future__ import annotations

import sqlite3

from gateway.stores.records import AuditEntry, Correction, NotUnknown
from gateway.stores.sqlite import audit
from gateway.stores.sqlite.booked_prices import price_ids


def correct(connection: sqlite3.Connection, correction: Correction, entry: AuditEntry | None = None) -> bool:
    """Inside a transaction of the writer's: add a correction; False if the exchange has one already.

    ``entry``: for the audit log, if it is added.

    Raises NotUnknown if the exchange is not of unknown outcome, sqlite3.IntegrityError for amounts below 0.
    """
    found = connection.execute("SELECT state FROM settlements WHERE id = ?", (correction.id,)).fetchone()
    if found is None:
        raise NotUnknown(f"Exchange {correction.id} is not settled yet, or was never seen.")
    if found[0] != "unknown":
        raise NotUnknown(f"Exchange {correction.id} is {found[0]}; only one of unknown outcome can be corrected.")
    [price] = price_ids(connection, [(correction.price, correction.at_ns)])
    cursor = connection.execute(
        "INSERT INTO corrections "
        "(id, at_ns, state, charged, upstream_cost, images, upstream, credential, reason, confidence, price) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
        (
            correction.id,
            correction.at_ns,
            correction.state,
            correction.charged,
            correction.upstream_cost,
            correction.images,
            correction.upstream,
            correction.credential,
            correction.reason,
            correction.confidence,
            price,
        ),
    )
    if cursor.rowcount != 1:
        return False
    audit.append(connection, entry)
    return True
