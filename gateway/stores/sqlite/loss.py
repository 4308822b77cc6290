"""Whether a store has lost anything since its mark was written, by the store as it is and the mark beside it.

Reads only, and before anything is written: a log that was put back in time is then still taken up.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from gateway.core.errors import StoreError
from gateway.core.pricing.price_text import usd
from gateway.stores.sqlite.mark import Mark
from gateway.stores.sqlite.tally import (
    TABLES,
    Count,
    Position,
    contradictions,
    has_tally,
    miscounts,
    read_position,
)

MOST_COMPARED = 100_000
"""Rows younger than the mark that are added up; there are more only where it could not be written for long."""

_NAMES = {"intents": "requests", "settlements": "settlements"}


class Loss(NamedTuple):
    """What is missing: ``sentences`` say it; ``rows`` by table, ``charged`` and ``upstream_cost`` in nano-dollars, as
    far as they can be told.
    """

    sentences: tuple[str, ...]
    rows: Mapping[str, int]
    charged: int = 0
    upstream_cost: int = 0

    def __bool__(self) -> bool:
        return bool(self.sentences)


class StoreLost(StoreError):
    """The store lacks what it once had. ``loss``: what."""

    def __init__(self, store: Path, loss: Loss) -> None:
        super().__init__(
            f"{store} has lost what it held: {'; '.join(loss.sentences)}. It is left as it is, and not served. Put "
            f"back what is missing ({store.name}, {store.name}-wal), or a backup: piapi-gateway restore DIR. To go on "
            "without it: piapi-gateway ledger verify --accept-loss REASON"
        )
        self.loss = loss


def find_loss(store: sqlite3.Connection, mark: Mark, *, recount: bool) -> Loss:
    """Compare a store with its mark and with its own count. Raises sqlite3.Error.

    ``recount``: whether every row is looked at, too.
    """
    known = mark.position
    if not has_tally(store):
        return _all_of(known) if known is not None else Loss((), {})
    position = read_position(store)
    if position is None:
        return Loss(("the count of its rows is not whole",), {})
    if known is not None and known.store != position.store:
        return _foreign(known, position)
    found = _by_mark(store, known, position) if known is not None else Loss((), {})
    if found:
        return found
    sentences = [*contradictions(store, position.counts)]
    if recount and not sentences:
        sentences = [*miscounts(store, position.counts)]
    return Loss(tuple(sentences), _missing_rows(store, position) if sentences else {})


def lost_file(mark: Mark) -> Loss:
    """What is lost with a file that is gone, or empty."""
    return Loss((), {}) if mark.position is None else _all_of(mark.position)


def _all_of(known: Position) -> Loss:
    rows = {name: count.ever for name, count in known.counts.items() if count.ever}
    charged, cost = _money(known)
    sentence = f"there was a store with {_counted(known)} here, and now there are no books of it"
    return Loss((sentence,), rows, charged, cost)


def _foreign(known: Position, position: Position) -> Loss:
    whole = _all_of(known)
    sentence = f"the mark is of a store with {_counted(known)}, and this is another one, with {_counted(position)}"
    return whole._replace(sentences=(sentence,))


def _by_mark(store: sqlite3.Connection, known: Position, position: Position) -> Loss:
    """What the store had at the time of its mark, and has no longer."""
    rows = {
        name: missing
        for name, count in known.counts.items()
        if (missing := count.ever - position.counts.get(name, Count(0, 0)).ever) > 0
    }
    before, now = _money(known), _money(position)
    charged, cost = max(0, before[0] - now[0]), max(0, before[1] - now[1])
    sentences = [f"{number} of {known.counts[name].ever} {_NAMES.get(name, name)}" for name, number in rows.items()]
    if sentences:
        sentences[-1] += f", charged ${usd(charged)}"
        return Loss(tuple(sentences), rows, charged, cost)
    return Loss(tuple(_other_past(store, known, position)), {})


def _other_past(store: sqlite3.Connection, known: Position, position: Position) -> Iterator[str]:
    """Take away what came after the mark: the rest must be what the mark says, to the row and the nano-dollar."""
    for table, newest in zip(("intents", "settlements"), known.newest, strict=True):
        before, now = known.counts[table], position.counts[table]
        later = now.ever - before.ever
        if later > MOST_COMPARED or now.ever - now.held != before.ever - before.held:  # rows were pruned since
            continue
        at = store.execute(
            f"SELECT id FROM {table} ORDER BY rowid DESC LIMIT 1 OFFSET ?",  # noqa: S608
            (later,),
        ).fetchone()
        if (at[0] if at else "") != newest:
            yield f"the {_NAMES[table]} are not those of its mark: where {newest or 'none'} stood is {at and at[0]}"
        elif table == "settlements":
            charged, cost = store.execute(
                "SELECT coalesce(sum(charged), 0), coalesce(sum(upstream_cost), 0) FROM "
                "(SELECT charged, upstream_cost FROM settlements ORDER BY rowid DESC LIMIT ?)",
                (later,),
            ).fetchone()
            if (now.charged - charged, now.upstream_cost - cost) != (before.charged, before.upstream_cost):
                yield "the amounts charged before its mark are others than the mark says"


def _missing_rows(store: sqlite3.Connection, position: Position) -> dict[str, int]:
    rows = {}
    for table in TABLES:
        (there,) = store.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
        if there < position.counts[table].held:
            rows[table] = position.counts[table].held - there
    return rows


def _money(position: Position) -> tuple[int, int]:
    tables = [position.counts.get(name, Count(0, 0)) for name in ("settlements", "corrections")]
    return sum(count.charged for count in tables), sum(count.upstream_cost for count in tables)


def _counted(position: Position) -> str:
    keys = position.counts.get("keys", Count(0, 0)).held
    return f"{position.counts['intents'].ever} requests, ${usd(_money(position)[0])} charged, {keys} keys"
