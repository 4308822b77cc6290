"""What is held of budgets for requests that ended without their outcome being known, listed and given back.

    {"id", "key", "team", "model", "route", "request_id", "held_usd", "since", "until", "why", "task_ids"}

A request whose outcome is unknown (its process was killed, its upstream fell silent after the order) keeps what it had
reserved for a day, unless its outcome is found out before, or an admin gives it back. Then the books have it as
released, it is charged nothing, and it is not asked after any more: should it have been bought all the same, the bill
shows it (``usage --reconcile``), and no key is charged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC
from typing import Any

from gateway.core.pricing.budgets import UNKNOWN_HELD_NS
from gateway.core.pricing.calendar import iso_time
from gateway.core.pricing.prices import usd_number
from gateway.stores.records import AuditEntry, Correction, Held

CUT = "the gateway ended while it ran, so it is not known whether it was bought"
SILENT = "its upstream did not tell how it ended, so it may have been bought"
OPEN = "not settled: the gateway ended while it ran, or one that is not asked here still runs it"

MOST_REASON = 500
"""Characters of the reason for a release."""

RELEASE = "hold.release"

AmountHeld = Callable[[str], int | None]
"""An exchange's id → nano-dollars that its budgets hold for it at this moment; None if that is nothing."""


def held_rows(holds: Iterable[Held], amount: AmountHeld | None = None) -> list[dict[str, Any]]:
    """The rows, as JSON has them.

    ``amount``: of a running gateway, which knows what it holds, and what only runs; without one, all that the books
    have of it, which is what a gateway would hold at its start.
    """
    rows = []
    for held in holds:
        nano = held.reserved if amount is None else None if held.running else amount(held.id)
        if nano is not None:
            rows.append(held_row(held, nano))
    return rows


def held_row(held: Held, nano: int) -> dict[str, Any]:
    """One row."""
    return {
        "id": held.id,
        "key": held.key,
        "team": held.team,
        "model": held.model,
        "route": held.route,
        "request_id": held.request_id,
        "held_usd": usd_number(nano),
        "since": iso_time(held.at_ns, UTC),
        "until": iso_time(held.at_ns + UNKNOWN_HELD_NS, UTC),
        "why": OPEN if held.running else CUT if held.cut else SILENT,
        "task_ids": list(held.task_ids),
    }


def released(id: str, now_ns: int, reason: str) -> Correction:
    """What is written down of an exchange that is given back: nothing was bought, no key is charged."""
    return Correction(id, now_ns, "released", 0, 0, 0, f"released by an admin: {reason}")


def release_entry(held: Held | None, id: str, now_ns: int, who: str, reason: str) -> AuditEntry:
    """The same for the audit log."""
    details = {} if held is None else {"key": held.key, "model": held.model, "held_usd": usd_number(held.reserved)}
    return AuditEntry(now_ns, who, RELEASE, id, reason, details)


def audit_row(entry: AuditEntry) -> dict[str, Any]:
    """An entry of the audit log, as JSON has it."""
    return {
        "at": iso_time(entry.at_ns, UTC),
        "who": entry.who,
        "act": entry.act,
        "subject": entry.subject,
        "reason": entry.reason,
        "details": dict(entry.details),
    }
