"""What came of the runs: results/*.json, from which docs/compatibility.md is written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TypedDict

from tests.compatibility.table import FOLDER, Client

RESULTS = FOLDER / "results"


class Result(TypedDict):
    """What came of one call. ``date``: of the run. ``result``: ``passed`` | ``failed`` | ``not applicable``."""

    client: str
    version: str
    date: str
    call: str
    result: str
    note: str


def today_text() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d")


def keep(client: Client, results: Sequence[Result]) -> None:
    """Write a client's file."""
    text = json.dumps(results, indent=1, ensure_ascii=False) + "\n"
    (RESULTS / f"{client.id}.json").write_text(text, encoding="utf-8")


def read_results() -> Iterator[Result]:
    """Every row of every file."""
    for path in sorted(RESULTS.glob("*.json")):
        yield from json.loads(path.read_text(encoding="utf-8"))
