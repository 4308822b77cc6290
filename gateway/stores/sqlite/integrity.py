"""What must be true of the books: rules about rows as queries for those that break them, then the roll-up's sums."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from gateway.stores.spans import NS
from gateway.stores.sqlite.rollup import FIGURES, pruned_before
from gateway.stores.sqlite.tally import TRIGGERS, miscounts, read_position

MAX_EXAMPLES = 10
"""How many rows with the same problem are named."""

_RULES = (
    (
        # A release that moved no money may stand alone: its intent's commit failed while its client went away.
        "settlement {} has no intent",
        "SELECT s.id FROM settlements AS s WHERE NOT (s.state = 'released' AND s.charged = 0 AND s.upstream_cost = 0) "
        "AND NOT EXISTS (SELECT 1 FROM intents AS i WHERE i.id = s.id)",
    ),
    (
        "settlement {} has an amount that is not a whole number of at least 0",
        "SELECT id FROM settlements WHERE typeof(charged) <> 'integer' OR charged < 0 "
        "OR typeof(upstream_cost) <> 'integer' OR upstream_cost < 0",
    ),
    (
        "settlement {} has a count that is not a whole number of at least 0, or more cached tokens than tokens",
        "SELECT id FROM settlements WHERE typeof(input_tokens) <> 'integer' OR cached_input_tokens < 0 "
        "OR cached_input_tokens > input_tokens OR typeof(cached_input_tokens) <> 'integer' "
        "OR typeof(output_tokens) <> 'integer' OR output_tokens < 0 OR typeof(images) <> 'integer' OR images < 0 "
        "OR typeof(cache_write_tokens) <> 'integer' OR cache_write_tokens < 0 "
        "OR typeof(reasoning_tokens) <> 'integer' OR reasoning_tokens < 0",
    ),
    (
        "settlement {} was booked at a price that is not written down",
        "SELECT id FROM settlements WHERE price IS NOT NULL AND price NOT IN (SELECT id FROM booked_prices)",
    ),
    (
        "intent {} reserves an amount that is not a whole number of at least 0",
        "SELECT id FROM intents WHERE typeof(reserved) <> 'integer' OR reserved < 0",
    ),
    (
        "settlement {} is released, and yet charged",
        "SELECT id FROM settlements WHERE state = 'released' AND charged <> 0",
    ),
    (
        "request {} cost something, though another row paid for what it was given",
        "SELECT i.id FROM intents AS i JOIN settlements AS s ON s.id = i.id "
        "WHERE i.paid_by IS NOT NULL AND (s.charged <> 0 OR s.upstream_cost <> 0 OR s.state = 'unknown')",
    ),
    (
        "settlement {} is in no known state",
        "SELECT id FROM settlements WHERE state NOT IN ('settled', 'released', 'unknown')",
    ),
    (
        "settlement {} has attempts whose costs do not add up to its upstream cost",
        "SELECT id FROM settlements WHERE CASE WHEN NOT json_valid(attempts) THEN TRUE ELSE upstream_cost <> "
        "(SELECT coalesce(sum(a.value ->> '$.cost'), 0) FROM json_each(settlements.attempts) AS a) END",
    ),
    (
        "task {} was bought for an exchange that has no intent",
        "SELECT t.task_id FROM tasks AS t WHERE NOT EXISTS (SELECT 1 FROM intents AS i WHERE i.id = t.exchange)",
    ),
    (
        "correction {} is of an exchange that is not of unknown outcome",
        "SELECT c.id FROM corrections AS c "
        "WHERE NOT EXISTS (SELECT 1 FROM settlements AS s WHERE s.id = c.id AND s.state = 'unknown')",
    ),
    (
        "correction {} has an amount or a count that is not a whole number of at least 0, or charges what it releases",
        "SELECT id FROM corrections WHERE typeof(charged) <> 'integer' OR charged < 0 "
        "OR typeof(upstream_cost) <> 'integer' OR upstream_cost < 0 OR typeof(images) <> 'integer' OR images < 0 "
        "OR state NOT IN ('settled', 'released') OR (state = 'released' AND charged <> 0)",
    ),
    (
        "correction {} was booked at a price that is not written down",
        "SELECT id FROM corrections WHERE price IS NOT NULL AND price NOT IN (SELECT id FROM booked_prices)",
    ),
    ("booked price {} is not JSON", "SELECT id FROM booked_prices WHERE price <> '' AND NOT json_valid(price)"),
    ("exchange {} was about to be pruned and still is", "SELECT id FROM pruning"),
    ("settlement {} fitted no row and was set aside in 'unbookable'", "SELECT id FROM unbookable ORDER BY rowid"),
)
"""A sentence, and the query for the ids it is true of."""

GUARDS = (
    *(
        f"{table}_keep_{change}"
        for table in ("intents", "settlements", "tasks", "corrections", "prunes", "balances", "booked_prices")
        for change in ("update", "delete")
    ),
    "corrections_of_unknown",
    "pruning_what_is_over",
    "spent_keep_delete",
    "keys_keep_delete",
    "keys_keep_revoked",
    "identity_keep_update",
    "identity_keep_delete",
)
"""The triggers that make the books append-only."""

COUNTERS = ("settlements_count", "corrections_count", *TRIGGERS)
"""The triggers that keep the roll-up, and the count of all rows."""

_OF = "key, team, model, upstream, price, certainty"
_ALL = ", ".join(FIGURES)
_NEGATIVE = ", ".join(f"-{figure}" for figure in FIGURES)
_DIFFER = " OR ".join(f"sum({figure}) <> 0" for figure in FIGURES)
_WRONG_SUMS = f"SELECT start, {_OF} FROM ({{}}) GROUP BY start, {_OF} HAVING {_DIFFER}"  # noqa: S608
_HOURS = _WRONG_SUMS.format(
    f"SELECT start, {_OF}, {_ALL} FROM spent WHERE span = 3600 AND start >= :pruned UNION ALL "  # noqa: S608
    f"SELECT at_ns / 1000000000 / 3600 * 3600, {_OF}, {_NEGATIVE} FROM booked WHERE at_ns >= :pruned * 1000000000"
)
_DAYS = _WRONG_SUMS.format(
    f"SELECT start, {_OF}, {_ALL} FROM spent WHERE span = 86400 UNION ALL "  # noqa: S608
    f"SELECT start / 86400 * 86400, {_OF}, {_NEGATIVE} FROM spent WHERE span = 3600"
)
"""The hours, and the days, whose sums are not those of their rows, and of their hours."""


def problems(store: sqlite3.Connection) -> Iterator[str]:
    """One sentence for each thing that is wrong. Sums are looked at only where the rows are right: they would tell
    the same story again.
    """
    found = False
    for sentence in (*_damage(store), *_wrong_rows(store)):
        found = True
        yield sentence
    if not found:
        yield from _wrong_sums(store)
        yield from _wrong_count(store)


def _wrong_count(store: sqlite3.Connection) -> Iterator[str]:
    position = read_position(store)
    if position is not None:  # find_loss says it of one that is not whole
        yield from miscounts(store, position.counts)


def _damage(store: sqlite3.Connection) -> Iterator[str]:
    for (finding,) in store.execute(f"PRAGMA quick_check({MAX_EXAMPLES})").fetchall():
        if finding != "ok":
            yield f"SQLite's own check: {finding}"
    triggers = {name for (name,) in store.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'")}
    for guard in GUARDS:
        if guard not in triggers:
            yield f"the trigger {guard} is gone, so rows may have been changed"
    for counter in COUNTERS:
        if counter not in triggers:
            yield f"the trigger {counter} is gone, so the sums may be wrong"


def _wrong_rows(store: sqlite3.Connection) -> Iterator[str]:
    for sentence, query in _RULES:
        ids = [identity for (identity,) in store.execute(query)]
        for identity in ids[:MAX_EXAMPLES]:
            yield sentence.format(identity)
        if len(ids) > MAX_EXAMPLES:
            yield f"{sentence.format('…')}: {len(ids) - MAX_EXAMPLES} more"


def _wrong_sums(store: sqlite3.Connection) -> Iterator[str]:
    """Hours must be what their rows add up to, as far as there are rows; days what their hours add up to."""
    pruned = pruned_before(store) // NS
    for span, query in (("hour", _HOURS), ("day", _DAYS)):
        found = store.execute(query, {"pruned": pruned} if span == "hour" else {}).fetchall()
        for start, key, _, model, *_ in found[:MAX_EXAMPLES]:
            yield f"the sum of key {key} and model {model} for the {span} from Unix time {start} is wrong"
        if len(found) > MAX_EXAMPLES:
            yield f"sums of {span}s that are wrong: {len(found) - MAX_EXAMPLES} more"
