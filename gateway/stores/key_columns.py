"""A key's settings as the columns of a row, the same for every engine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, replace
from typing import Any

import orjson

from gateway.core.types import Budget
from gateway.stores.key_records import KeySettings, StoredKey

SETTINGS = "team, models, rpm, tpm, parallel, budget_nano, budget_period, expires_at_ns, note, model_budgets, alert"
"""The names of the columns, in the order of ``settings_row``."""


def settings_row(settings: KeySettings) -> tuple[Any, ...]:
    """The values of SETTINGS; lists and mappings as JSON."""
    budget = (None, None) if settings.budget is None else astuple(settings.budget)
    return (
        settings.team,
        orjson.dumps(settings.models).decode(),
        settings.rpm,
        settings.tpm,
        settings.parallel,
        *budget,
        settings.expires_at_ns,
        settings.note,
        orjson.dumps(dict(settings.model_budgets)).decode(),
        orjson.dumps(settings.alert).decode(),
    )


def settings_of(
    team: str | None, models: str, rpm: int | None, tpm: int | None, parallel: int | None, *others: Any
) -> KeySettings:
    """From the values of SETTINGS."""
    amount, period, expires, note, model_budgets, alert = others
    return KeySettings(
        team,
        tuple(orjson.loads(models)),
        rpm,
        tpm,
        parallel,
        None if amount is None else Budget(amount, period),
        expires,
        note,
        tuple((pattern, Budget(**budget)) for pattern, budget in orjson.loads(model_budgets).items()),
        tuple(orjson.loads(alert)),
    )


def older_keys(listed: str) -> tuple[tuple[bytes, int], ...]:
    """``StoredKey.older`` from a JSON array of digests in hexadecimal and times; the latest first."""
    found = sorted(orjson.loads(listed), key=lambda each: int(each[1]), reverse=True)
    return tuple((bytes.fromhex(digest), until_ns) for digest, until_ns in found)


def active_keys(keys: Iterable[StoredKey], now_ns: int) -> list[StoredKey]:
    """Those that are neither revoked nor expired; of old digests those that still work."""
    return [_without_dead_digests(key, now_ns) for key in keys if key.active(now_ns)]


def _without_dead_digests(key: StoredKey, now_ns: int) -> StoredKey:
    older = tuple((digest, until_ns) for digest, until_ns in key.older if now_ns < until_ns)
    if key.old_until_ns is None or now_ns < key.old_until_ns:
        return replace(key, older=older)
    return replace(key, old_digest=None, old_until_ns=None, older=older)
