"""``make soak`` in short: a few seconds of steady traffic add no series. How fast the disk is, is not asked here."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from soak import steady

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


async def test_steady_traffic_adds_no_series_and_its_books_are_right(tmp_path: Path) -> None:
    report = await steady.run(tmp_path, 0.05, 30, 3, limits=False)

    assert report.ok, report.text()
    for row in ("intent", "task"):
        assert " within 5 ms" in report.figures[f"waits for the ledger, {row} rows"]
