"""What the gateway wrote down: the rows of its ledger and the figures of its metrics."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True)
class Row:
    """One exchange as the books have it: intent and settlement together. Amounts are nano-dollars."""

    id: str
    key: str
    team: str | None
    model: str
    request_id: str
    paid: bool
    state: str
    upstream: str | None
    endpoint: str | None
    attempts: list[dict[str, Any]]
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    images: int
    charged: int
    upstream_cost: int
    confidence: str
    status: int
    task_id: str | None

    @property
    def outcomes(self) -> list[str]:
        return [attempt["outcome"] for attempt in self.attempts]

    @property
    def costs(self) -> list[tuple[int, str]]:
        """What each attempt costs us upstream, and for what reason."""
        return [(attempt["cost"], attempt["reason"]) for attempt in self.attempts]


@dataclass(frozen=True)
class TaskRow:
    """A task that an upstream was paid for: whose it is, and with which upstream key it was made."""

    task_id: str
    upstream: str
    credential: str
    exchange: str
    key: str
    model: str


def read_tasks(path: Path) -> list[TaskRow]:
    """Every task that was created, in their order."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as store:
        found = store.execute(
            "SELECT task_id, upstream, credential, exchange, key, model FROM tasks ORDER BY at_ns, rowid"
        ).fetchall()
    return [TaskRow(*row) for row in found]


def read_rows(path: Path) -> list[Row]:
    """Every settled exchange, in the order they came in."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as store:
        store.row_factory = sqlite3.Row
        found = store.execute("SELECT * FROM intents JOIN settlements USING (id) ORDER BY id").fetchall()
    return [
        Row(
            **{name: row[name] for name in Row.__dataclass_fields__ if name not in ("attempts", "paid")},
            attempts=json.loads(row["attempts"]),
            paid=bool(row["paid"]),
        )
        for row in found
    ]


_FAMILY = re.compile("^(?=# HELP )", re.MULTILINE)


@lru_cache(maxsize=4096)
def _samples(family: str) -> tuple[tuple[str, dict[str, str], float], ...]:
    """What the text of one family says; most are the same at every reading of every gateway."""
    return tuple(
        (sample.name, dict(sample.labels), sample.value)
        for read in text_string_to_metric_families(family)
        for sample in read.samples
    )


class Figures:
    """One reading of /metrics."""

    def __init__(self, text: str) -> None:
        self.samples = [sample for family in _FAMILY.split(text) for sample in _samples(family)]

    def total(self, name: str, **labels: str) -> float:
        """The sum over all series of ``name`` that have these labels."""
        return sum(
            value
            for found, has, value in self.samples
            if found == name and all(has.get(label) == wanted for label, wanted in labels.items())
        )

    def nano(self, name: str, **labels: str) -> int:
        """The same for money, in nano-dollars."""
        return round(self.total(name, **labels) * 1e9)
