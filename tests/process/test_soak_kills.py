"""``make soak`` in short: thirty killed processes on one store, and every cent is where it belongs."""

from __future__ import annotations

from pathlib import Path

import pytest

from soak import books, kills, resends
from soak.audit import Row
from soak.orders import KINDS

KILLS = 30


@pytest.mark.parametrize("seed", [20_260_101])
async def test_thirty_kills_lose_nothing_and_double_nothing(tmp_path: Path, seed: int) -> None:
    report = await kills.run(tmp_path, KILLS, seed)

    assert report.ok, report.text()
    # Or nothing was tried: processes died in the middle of something, and left what the upstreams had done unknown.
    figures = {name: int(value.replace(",", "")) for name, value in report.figures.items()}
    assert figures["kills"] == KILLS
    assert figures["cut off by a kill"] > KILLS
    assert figures["left by their client"] > 0
    assert figures["unknown, and billed"] > 0
    assert figures["suspected duplicates"] > 0
    assert figures["settled, measured"] > KILLS
    assert figures["released"] > 0
    kinds = {name for name in figures if name.startswith("asked: ")}
    assert kinds == {f"asked: {kind.name}" for kind in KINDS}


@pytest.mark.parametrize("seed", [20_260_102])
async def test_thirty_kills_under_clients_that_send_again_buy_nothing_twice(tmp_path: Path, seed: int) -> None:
    report = await resends.run(tmp_path, KILLS, seed)

    assert report.ok, report.text()
    # Or nothing was tried: orders were cut off, sent again, joined, and some were told that it is unknown.
    figures = {name: int(value.replace(",", "")) for name, value in report.figures.items()}
    assert figures["kills"] == KILLS
    assert figures["cut off by a kill"] > KILLS
    assert figures["orders sent again"] > KILLS
    assert figures["rows that joined"] > KILLS
    assert figures["orders told unknown"] > 0
    assert figures["rows corrected"] > 0
    assert figures["orders answered"] > KILLS


async def test_rows_that_vanish_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run's own eyes: with every fifth row hidden from it, it ends at once and names them."""
    read = books.rows_after

    def hiding(folder: Path, place: int) -> tuple[list[Row], int]:
        rows, last = read(folder, place)
        return [row for row in rows if not row.marker.endswith(("0", "5"))], last

    monkeypatch.setattr(books, "rows_after", hiding)

    report = await kills.run(tmp_path, KILLS, 1)

    assert not report.ok
    assert all("without a row" in problem or "there is no row" in problem for problem in report.problems)
    assert int(report.figures["kills"]) < KILLS
    assert "FAILED" in report.text()
