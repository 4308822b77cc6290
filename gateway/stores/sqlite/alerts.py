"""The alerts of budgets, kept until they are told, and so that none is told twice. Everything here blocks."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import orjson

from gateway.core.types import Budget
from gateway.stores.records import AlertState, KnownAlerts, StoredAlert
from gateway.stores.sqlite.schema import reading

KEPT_NS = 62 * 24 * 3600 * 1_000_000_000
"""How long an alert of a day, a week or a month is kept: longer than its period."""


def record(store: sqlite3.Connection, alert: StoredAlert) -> None:
    """Inside a transaction of the writer's: keep an alert, and let go of those whose period is long over."""
    store.execute(
        "DELETE FROM alerts WHERE at_ns < ? AND period <> 'total' AND state <> 'pending'", (alert.at_ns - KEPT_NS,)
    )
    store.execute(
        "INSERT INTO alerts (id, at_ns, holder, cause, budget_nano, period, period_start_ns, body, state) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
        (
            alert.id,
            alert.at_ns,
            orjson.dumps(alert.holder).decode(),
            alert.cause,
            alert.budget.amount,
            alert.budget.period,
            alert.period_start_ns,
            alert.body,
            alert.state,
        ),
    )


def end(store: sqlite3.Connection, id: str, state: AlertState) -> None:
    """Inside a transaction of the writer's: an alert was told, or will never be."""
    store.execute("UPDATE alerts SET state = ? WHERE id = ?", (state, id))


def forget_time_before(store: sqlite3.Connection) -> None:
    """Inside a transaction of the writer's: from now on the table says what was told."""
    store.execute("DELETE FROM alerts_told_before")


def known(path: Path) -> KnownAlerts:
    """Every alert that is kept, oldest first. Raises StoreError."""
    with reading(path) as store:
        rows = store.execute(
            "SELECT id, at_ns, holder, cause, budget_nano, period, period_start_ns, body, state FROM alerts "
            "ORDER BY at_ns, rowid"
        ).fetchall()
        told_before = store.execute("SELECT 1 FROM alerts_told_before").fetchone() is not None
    alerts = tuple(
        StoredAlert(id, at_ns, tuple(orjson.loads(holder)), cause, Budget(nano, period), start_ns, body, state)
        for id, at_ns, holder, cause, nano, period, start_ns, body, state in rows
    )
    return KnownAlerts(alerts, told_before)
