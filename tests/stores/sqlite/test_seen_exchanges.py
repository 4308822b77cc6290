"""The exchanges that came in last, in a file: found by the index of their time, however many there are."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from gateway.stores.sqlite.schema import open_for_writing, reading
from gateway.stores.sqlite.seen_exchanges import LATEST, latest

from .books import old_store

MANY = 100_000
EVER = 2**63 - 1

FILL_INTENTS = """
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
INSERT INTO intents
SELECT printf('%08d', i), i / 3, 'key-' || (i % 7), NULL, 'chat', 'm', 'req-' || i, 5, 0, 1, NULL FROM n
"""
FILL_SETTLEMENTS = """
INSERT INTO settlements SELECT id, at_ns + 1, 'settled', 'piapi', 'https://api.piapi.ai', 'first', '[]',
1, 0, 1, 0, 2, 1, 'measured', 200, NULL, NULL, NULL, 0, 0 FROM intents
"""


@pytest.fixture
def large(path: Path) -> Path:
    with closing(open_for_writing(path, 0)) as store:
        store.execute(FILL_INTENTS, (MANY,))
        store.execute(FILL_SETTLEMENTS)
        store.execute("ANALYZE")
    return path


def plan(path: Path, *values: object) -> list[str]:
    with reading(path) as store:
        return [row[3] for row in store.execute(f"EXPLAIN QUERY PLAN {LATEST}", values)]


@pytest.mark.parametrize("key", [None, "key-3"])
def test_a_look_reads_the_index_backwards_and_sorts_nothing(large: Path, key: str | None) -> None:
    assert plan(large, EVER, EVER, 0, key, None, 50) == [
        "SEARCH i USING INDEX intents_by_time (at_ns>? AND at_ns<?)",
        "SEARCH s USING INDEX sqlite_autoindex_settlements_1 (id=?) LEFT-JOIN",
        "SEARCH c USING INDEX sqlite_autoindex_corrections_1 (id=?) LEFT-JOIN",
    ]


def test_pages_of_a_large_store_follow_one_another(large: Path) -> None:
    newest = [seen.id for seen in latest(large, 4)]
    assert newest == [f"{number:08}" for number in range(MANY, MANY - 4, -1)]
    assert [seen.id for seen in latest(large, 2, newest[1])] == newest[2:]
    assert [seen.id for seen in latest(large, 2, f"{MANY // 2:08}", "key-1")] == [
        f"{number:08}" for number in range(MANY // 2 - 1, 0, -1) if number % 7 == 1
    ][:2]


@pytest.mark.parametrize(("reason", "confidence"), [("task completed", "measured"), ("done, price unknown", "unknown")])
def test_what_an_earlier_version_corrected_is_as_sure_as_it_said(path: Path, reason: str, confidence: str) -> None:
    with closing(old_store(path, 8)) as store:
        store.execute("INSERT INTO intents VALUES ('a', 5, 'alice', NULL, 'chat', 'm', 'req-a', 5, 0, 1)")
        store.execute(
            "INSERT INTO settlements "
            "VALUES ('a', 6, 'unknown', NULL, NULL, NULL, '[]', 0, 0, 0, 0, 0, 0, 'unknown', 0, NULL)"
        )
        store.execute("INSERT INTO corrections VALUES ('a', 7, 'settled', 9, 8, 1, NULL, NULL, ?)", (reason,))
    open_for_writing(path, 10).close()
    [seen] = latest(path, 10)
    assert (seen.state, seen.charged, seen.confidence, seen.corrected) == ("settled", 9, confidence, reason)
