"""Alerts of budgets in PostgreSQL. Implements ``stores.alert_records.AlertRecords``.

What one gateway has raised no other raises again. It is told by the gateway that raised it; what one has left that is
gone is told by the next that starts, under the same webhook-id.
"""

from __future__ import annotations

from typing import Any

import orjson

from gateway.core.types import Budget
from gateway.stores.gateway_records import LEASE
from gateway.stores.postgres.pool import PostgresPool
from gateway.stores.postgres.writing import writing
from gateway.stores.records import AlertState, KnownAlerts, StoredAlert

KEPT_NS = 62 * 24 * 3600 * 1_000_000_000
"""How long an alert of a day, a week or a month is kept: longer than its period."""

_LET_GO = "DELETE FROM alerts WHERE at_ns < $1 AND period <> 'total' AND state <> 'pending'"
_SUBJECT = "holder = $1 AND cause = $2 AND budget_nano = $3 AND period = $4 AND period_start_ns = $5"
_RECORD = (
    "INSERT INTO alerts (holder, cause, budget_nano, period, period_start_ns, id, at_ns, body, state, gateway) "  # noqa: S608
    f"SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10 WHERE NOT EXISTS (SELECT 1 FROM alerts WHERE {_SUBJECT} "
    "AND gateway <> $10) ON CONFLICT (id) DO NOTHING"
)
_TAKE_OVER = (
    "UPDATE alerts SET gateway = $1, taken_at = clock_timestamp() WHERE state = 'pending' AND gateway <> $1 "
    "AND (taken_at IS NULL OR taken_at < clock_timestamp() - make_interval(secs => $2)) "
    "AND NOT EXISTS (SELECT FROM gateways AS g WHERE g.id = alerts.gateway)"
)
"""One that was taken over a moment ago is in the hands of a gateway that may not have told yet that it lives."""
_KNOWN = (  # what another gateway is about to tell is as good as told here
    "SELECT id, at_ns, holder, cause, budget_nano, period, period_start_ns, body, "
    "CASE WHEN state = 'pending' AND gateway <> $1 THEN 'told' ELSE state END FROM alerts ORDER BY at_ns, number"
)


class PostgresAlerts:
    """The alerts of a database, as the gateway ``gateway_id`` raises and tells them."""

    def __init__(self, pool: PostgresPool, gateway_id: str) -> None:
        self._pool = pool
        self._gateway_id = gateway_id

    async def known(self) -> KnownAlerts:
        async with self._pool.transaction() as connection:
            await connection.execute(_TAKE_OVER, self._gateway_id, LEASE)
            rows = await connection.fetch(_KNOWN, self._gateway_id)
        return KnownAlerts(tuple(map(_alert, rows)))

    async def record(self, alert: StoredAlert) -> bool:
        budget, holder = alert.budget, orjson.dumps(alert.holder).decode()
        subject = (holder, alert.cause, budget.amount, budget.period, alert.period_start_ns)
        async with writing(self._pool) as connection:
            # One lock for each subject: two gateways that reach it at once must not both raise it.
            await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"alert {subject}")
            await connection.execute(_LET_GO, alert.at_ns - KEPT_NS)
            made = await connection.execute(
                _RECORD, *subject, alert.id, alert.at_ns, alert.body, alert.state, self._gateway_id
            )
        return bool(made.endswith("1"))

    async def end(self, id: str, state: AlertState) -> None:
        async with writing(self._pool) as connection:
            await connection.execute("UPDATE alerts SET state = $2 WHERE id = $1", id, state)

    async def forget_time_before(self) -> None:
        """There is no time before: alerts were kept from the first gateway of such a store on."""


def _alert(row: Any) -> StoredAlert:
    """From the columns of ``_KNOWN``."""
    id, at_ns, holder, cause, nano, period, start_ns, body, state = row
    return StoredAlert(id, at_ns, tuple(orjson.loads(holder)), cause, Budget(nano, period), start_ns, body, state)
