"""Texts that no row of PostgreSQL can have, a NUL or half of a character: a row is written all the same, and its money
counted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.stores.postgres.ledger import PostgresLedger
from gateway.stores.records import AttemptRecord, Correction, NotUnknown
from tests.stores.makers import nothing_pending, task

from .ledgers import NOW, books, intent, rows, settlement

ODD = ("gpt\0four", "gpt\ud800four")


@pytest.fixture
async def ledger(postgres_url: str, tmp_path: Path) -> AsyncIterator[PostgresLedger]:
    async with books(postgres_url, tmp_path) as opened:
        yield opened


@pytest.mark.parametrize("odd", ODD)
async def test_an_intent(ledger: PostgresLedger, postgres_url: str, odd: str) -> None:
    await ledger.reserve(intent("a", model=odd, request_id=odd))
    ledger.settle(settlement("a"))
    await nothing_pending(ledger)
    assert await rows(postgres_url, "SELECT model FROM intents") == ["gpt\ufffdfour"]
    assert await rows(postgres_url, "SELECT charged FROM settlements") == [40]


@pytest.mark.parametrize("odd", ODD)
async def test_a_settlement(ledger: PostgresLedger, postgres_url: str, odd: str) -> None:
    told = AttemptRecord("piapi", "https://api.piapi.ai", "first", "ok", 4, cost=30, reason=odd, task_id=odd)
    await ledger.reserve(intent("a"))
    ledger.settle(settlement("a", answered_model=odd, task_id=odd, attempts=(told,)))
    await nothing_pending(ledger)
    found = "SELECT charged, answered_model, task_id, attempts #>> '{0,reason}' FROM settlements"
    assert await rows(postgres_url, found) == [(40, *3 * ("gpt\ufffdfour",))]
    assert await rows(postgres_url, "SELECT id FROM unbookable") == []


@pytest.mark.parametrize("odd", ODD)
async def test_a_task_and_a_correction(ledger: PostgresLedger, postgres_url: str, odd: str) -> None:
    await ledger.reserve(intent("a"))
    await ledger.record_task(task(odd, "a"))
    ledger.settle(settlement("a", state="unknown", charged=0, upstream_cost=0, confidence="unknown"))
    assert await ledger.correct(Correction("a", NOW, "settled", 7, 7, 1, odd, "piapi", "first", "measured"))
    assert await rows(postgres_url, "SELECT task_id FROM tasks") == ["gpt\ufffdfour"]
    assert await rows(postgres_url, "SELECT charged, reason FROM corrections") == [(7, "gpt\ufffdfour")]
    with pytest.raises(NotUnknown):
        await ledger.correct(Correction(odd, NOW, "settled", 7, 7, 1, "", "piapi", "first", "measured"))


async def test_what_fits_no_row_is_not_taken_for_unsold(ledger: PostgresLedger, postgres_url: str) -> None:
    """A settlement that was set aside is money of some key: what was reserved for it is not given back."""
    await ledger.reserve(intent("a"))
    ledger.settle(settlement("a", charged=2**70))
    await nothing_pending(ledger)
    assert await rows(postgres_url, "SELECT id FROM unbookable") == ["a"]
    await ledger.sweep(0.0)
    await nothing_pending(ledger)
    assert await rows(postgres_url, "SELECT id, state FROM settlements WHERE state <> 'unknown'") == []
