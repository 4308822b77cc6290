"""What the gateway wrote down: its ledger's rows, read from the file, and its metrics, read over HTTP."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from soak.audit import Attempt, Row

_ROWS = """
SELECT i.rowid, i.id, i.request_id, i.key, coalesce(s.state, 'open'), coalesce(s.confidence, ''),
    coalesce(s.charged, 0), i.reserved, coalesce(s.attempts, '[]'), c.state, c.charged, i.paid_by
FROM intents AS i
LEFT JOIN settlements AS s ON s.id = i.id
LEFT JOIN corrections AS c ON c.id = i.id
WHERE i.rowid > ? ORDER BY i.rowid
"""
_CHARGED = """
SELECT i.key, sum(coalesce(c.charged, s.charged))
FROM intents AS i
JOIN settlements AS s ON s.id = i.id
LEFT JOIN corrections AS c ON c.id = i.id
GROUP BY i.key
"""


def rows_after(folder: Path, place: int) -> tuple[list[Row], int]:
    """The rows that came in after ``place`` (0: all), and the place behind the last of them."""
    with _reading(folder) as store:
        found = store.execute(_ROWS, (place,)).fetchall()
    return [row_of(*columns) for _, *columns in found], found[-1][0] if found else place


def row_of(
    id: str,
    marker: str,
    key: str,
    state: str,
    confidence: str,
    charged: int,
    reserved: int,
    attempts: str,
    corrected: str | None,
    corrected_charge: int | None,
    paid_by: str | None,
) -> Row:
    """A row of the books, by the columns that every engine has."""
    tried = tuple(Attempt(one["endpoint"], one["outcome"], one["cost"], one["reason"]) for one in json.loads(attempts))
    correction = None if corrected is None else (corrected, corrected_charge or 0)
    return Row(id, marker, key, state, confidence, charged, reserved, tried, correction, paid_by)


def charged(folder: Path) -> Mapping[str, int]:
    """Nano-dollars charged by key, as the rows say."""
    with _reading(folder) as store:
        return Counter(dict(store.execute(_CHARGED).fetchall()))


@contextmanager
def _reading(folder: Path) -> Iterator[sqlite3.Connection]:
    uri = f"{(folder / 'gateway.db').resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=30)) as store:
        yield store


@dataclass(frozen=True, slots=True)
class Sample:
    """One series of a scrape."""

    name: str
    labels: Mapping[str, str]
    value: float


async def scrape(client: httpx2.AsyncClient, admin: str) -> list[Sample]:
    """Every series of ``/metrics``."""
    answer = await client.get(f"{admin}/metrics")
    answer.raise_for_status()
    return [
        Sample(sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    ]


def used(samples: list[Sample]) -> Mapping[str, int]:
    """Nano-dollars that budgets of keys are used up by, by key."""
    return {
        sample.labels["key"]: round(sample.value * 1e9)
        for sample in samples
        if sample.name == "gateway_key_budget_used_usd"
    }
