"""What was spent in any period, on a page and in a file for spreadsheets; and pages while the store hangs."""

from __future__ import annotations

import asyncio
import csv
import io
import threading
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from gateway.app import status
from gateway.console import overview, reading
from gateway.stores.sqlite import open_exchanges, queries, seen_exchanges

from .console_browser import Browser, at_console
from .harness import ALICE, Rig, eventually

TOMORROW = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()


async def test_a_period_is_shown_by_what_one_likes(rig: Rig) -> None:
    for _ in range(3):
        await rig.chat()
    await rig.chat(model="gpt-4o-mini")
    await rig.rows(4)
    async with at_console(rig) as browser:
        by_model = await browser.page("/console/spend?since=1d&by=model&by=team")
        assert "growth gpt-4o 3" in by_model.text
        assert "growth gpt-4o-mini 1" in by_model.text
        assert "All 4" in by_model.text
        usual = await browser.page("/console/spend")
        assert "alice gpt-4o 3" in usual.text
        checked = [field["value"] for field in usual.every("input") if "checked" in field]
        assert checked == ["key", "model"]


async def test_the_file_has_the_same_rows_and_exact_money(rig: Rig) -> None:
    await rig.chat()
    [row] = await rig.rows(1)
    async with at_console(rig) as browser:
        page = await browser.page("/console/spend?since=1d&by=key&by=day")
        [link] = [attributes["href"] for attributes in page.every("a") if "spend.csv" in attributes["href"]]
        answer = await browser.open(link)
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert "attachment" in answer.headers["content-disposition"]
        [found] = csv.DictReader(io.StringIO(answer.text))
        assert (found["key"], found["requests"]) == ("alice", "1")
        assert round(float(found["cost_usd"]) * 10**9) == row.charged


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("since=soon", "'soon' is no moment"),
        (f"since={TOMORROW}", "lies ahead"),
        ("since=1d&until=2d", "the other way round"),
    ],
)
async def test_a_period_that_is_none_is_told_and_stays_in_the_form(rig: Rig, query: str, words: str) -> None:
    async with at_console(rig) as browser:
        page = await browser.page(f"/console/spend?{query}", 400)
        assert words in page.problem
        assert query.partition("&")[0].partition("=")[2] in [field.get("value") for field in page.every("input")]
        assert words in (await browser.page(f"/console/spend.csv?{query}", 400)).problem


async def test_fields_that_the_books_do_not_have_are_left_out(rig: Rig) -> None:
    async with at_console(rig) as browser:
        page = await browser.page("/console/spend?by=secret&by=upstream")
        assert "Upstream Requests" in page.text


async def test_a_store_that_hangs_is_told_and_stops_neither_health_nor_work(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reads that hang hold a thread each; those who look on must not take all threads of the gateway's work."""
    monkeypatch.setattr(reading, "WITHIN", 0.2)
    monkeypatch.setattr(overview, "WITHIN", 0.2)
    monkeypatch.setattr(status, "BOOKS_WITHIN", 0.2)
    works, hanging = threading.Event(), []

    def hang(result: Any, *_: Any, **__: Any) -> Any:
        hanging.append(threading.get_ident())
        works.wait(30)
        return result

    monkeypatch.setattr(queries, "usage", partial(hang, []))
    monkeypatch.setattr(seen_exchanges, "latest", partial(hang, []))
    monkeypatch.setattr(open_exchanges, "charged_since", partial(hang, {}))
    async with at_console(rig) as browser:
        for _ in range(3):
            for page in await asyncio.gather(*(browser.page("/") for _ in range(3))):
                assert "did not answer within" in page.problem
                assert "Health" in page.text
            assert "did not answer" in (await browser.page("/console/requests", 503)).problem
        assert "did not answer" in (await browser.page("/console/spend", 503)).problem
        assert len(hanging) <= reading.AT_ONCE + 1, "what the console reads, and what was spent today"
        assert (await browser.page("/console/try")).form("/console/try", kind="chat")
        assert (await rig.chat(key=ALICE)).status == 200
        works.set()
        monkeypatch.undo()
        await eventually(lambda: _is_shown(browser), "the books shown again")


async def _is_shown(browser: Browser) -> bool:
    return not (await browser.page("/")).problem
