"""What must be true of the books: rules about rows as queries for those that break them, then the roll-up's sums."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.stores.postgres.budget_check import budget_problems
from gateway.stores.postgres.rollup import FIGURES, LONG, pruned_before
from gateway.stores.records import Verification
from gateway.stores.spans import NS

if TYPE_CHECKING:
    import asyncpg

MAX_EXAMPLES = 10
"""How many rows with the same problem are named."""

_RULES = (
    (
        "intent {} is there more than once",
        "SELECT id FROM intents GROUP BY id HAVING count(*) > 1",
    ),
    (
        "settlement {} is there more than once",
        "SELECT id FROM settlements GROUP BY id HAVING count(*) > 1",
    ),
    (
        # A release that moved no money may stand alone: its intent's commit failed while its client went away.
        "settlement {} has no intent",
        "SELECT s.id FROM settlements AS s WHERE NOT (s.state = 'released' AND s.charged = 0 AND s.upstream_cost = 0) "
        "AND NOT EXISTS (SELECT FROM intents AS i WHERE i.id = s.id AND i.at_ns = s.intent_ns)",
    ),
    (
        "intent {} is neither settled nor open",
        "SELECT i.id FROM intents AS i "
        "WHERE NOT EXISTS (SELECT FROM settlements AS s WHERE s.id = i.id AND s.intent_ns = i.at_ns) "
        "AND NOT EXISTS (SELECT FROM open_intents AS o WHERE o.id = i.id AND o.at_ns = i.at_ns)",
    ),
    (
        "intent {} is open, and settled or not there",
        "SELECT o.id FROM open_intents AS o "
        "WHERE EXISTS (SELECT FROM settlements AS s WHERE s.id = o.id AND s.intent_ns = o.at_ns) "
        "OR NOT EXISTS (SELECT FROM intents AS i WHERE i.id = o.id AND i.at_ns = o.at_ns)",
    ),
    (
        "settlement {} has an amount or a count below 0, more cached tokens than tokens, or charges what it releases",
        "SELECT id FROM settlements WHERE charged < 0 OR upstream_cost < 0 OR cached_input_tokens < 0 "
        "OR cached_input_tokens > input_tokens OR output_tokens < 0 OR images < 0 OR cache_write_tokens < 0 "
        "OR reasoning_tokens < 0 OR (state = 'released' AND charged <> 0)",
    ),
    (
        "settlement {} was booked at a price that is not written down",
        "SELECT s.id FROM settlements AS s WHERE s.price IS NOT NULL "
        "AND NOT EXISTS (SELECT FROM booked_prices AS p WHERE p.id = s.price)",
    ),
    (
        "request {} cost something, though another row paid for what it was given",
        "SELECT i.id FROM intents AS i JOIN settlements AS s ON s.id = i.id AND s.intent_ns = i.at_ns "
        "WHERE i.paid_by IS NOT NULL AND (s.charged <> 0 OR s.upstream_cost <> 0 OR s.state = 'unknown')",
    ),
    (
        "settlement {} has attempts whose costs do not add up to its upstream cost",
        "SELECT id FROM settlements WHERE upstream_cost <> "
        "(SELECT coalesce(sum((a ->> 'cost')::numeric), 0) FROM jsonb_array_elements(attempts) AS a)",
    ),
    (
        # Those of a month that is being pruned leave a moment after its intents; a task is made soon after its intent.
        "task {} was bought for an exchange that has no intent",
        "SELECT t.task_id FROM tasks AS t "
        "WHERE t.at_ns >= (SELECT coalesce(max(before_ns) + 86400000000000, 0) FROM prunes) "
        "AND NOT EXISTS (SELECT FROM intents AS i WHERE i.id = t.exchange)",
    ),
    (
        "correction {} is of an exchange that is not of unknown outcome",
        "SELECT c.id FROM corrections AS c WHERE NOT EXISTS "
        "(SELECT FROM settlements AS s WHERE s.id = c.id AND s.intent_ns = c.intent_ns AND s.state = 'unknown')",
    ),
    (
        "correction {} has an amount or a count below 0, or charges what it releases",
        "SELECT id FROM corrections WHERE charged < 0 OR upstream_cost < 0 OR images < 0 OR input_tokens < 0 "
        "OR cached_input_tokens < 0 OR output_tokens < 0 OR (state = 'released' AND charged <> 0)",
    ),
    (
        "correction {} was booked at a price that is not written down",
        "SELECT c.id FROM corrections AS c WHERE c.price IS NOT NULL "
        "AND NOT EXISTS (SELECT FROM booked_prices AS p WHERE p.id = c.price)",
    ),
    ("settlement {} fitted no row and was set aside in 'unbookable'", "SELECT id FROM unbookable ORDER BY number"),
)
"""A sentence, and the query for the ids it is true of."""

TRIGGERS = (
    "intents_keep",
    "intents_keep_all",
    "settlements_keep",
    "settlements_keep_all",
    "tasks_keep",
    "tasks_keep_all",
    "corrections_keep",
    "corrections_keep_all",
    "corrections_of_unknown",
    "booked_prices_keep",
    "prunes_keep",
    "balances_keep",
    "audit_keep",
    "spent_keep",
    "spent_changes_keep",
    "settlements_count",
    "corrections_count",
)
"""What keeps the books append-only, and the roll-up right."""

_OF = "key, team, model, upstream, price, certainty"
_ALL = ", ".join(FIGURES)
_NEGATIVE = ", ".join(f"-sum({figure})" for figure in FIGURES)
_DIFFER = " OR ".join(f"sum({figure}) <> 0" for figure in FIGURES)
_HOURS = (
    f"SELECT start, {_OF} FROM ("  # noqa: S608
    f"SELECT start, {_OF}, {_ALL} FROM spent WHERE span = 3600 AND start >= $1 "
    f"UNION ALL SELECT start, {_OF}, {_ALL} FROM spent_changes WHERE start >= $1 "
    f"UNION ALL SELECT at_ns / 3600000000000 * 3600 AS start, {_OF}, {_NEGATIVE} FROM booked "
    f"WHERE at_ns >= $1 * 1000000000 GROUP BY 1, {_OF}"
    f") AS sums GROUP BY start, {_OF} HAVING {_DIFFER} ORDER BY 1, 2"
)
_DAYS = (
    f"SELECT start, {_OF} FROM ("  # noqa: S608
    f"SELECT start, {_OF}, {_ALL} FROM spent WHERE span = 86400 "
    f"UNION ALL SELECT start / 86400 * 86400 AS start, {_OF}, {_NEGATIVE} FROM spent WHERE span = 3600 "
    f"GROUP BY 1, {_OF}"
    f") AS sums GROUP BY start, {_OF} HAVING {_DIFFER} ORDER BY 1, 2"
)
"""The hours, and the days, whose sums are not those of their rows, and of their hours."""


async def verify(connection: asyncpg.Connection[Any]) -> Verification:
    """Check the whole books, within a snapshot of the caller's; wrong and missing rows are ``problems``."""
    states = dict(
        await connection.fetch(
            "SELECT coalesce(c.state, s.state), count(*) "
            "FROM settlements AS s LEFT JOIN corrections AS c ON c.id = s.id GROUP BY 1",
            timeout=LONG,
        )
    )
    still_open, pruned, corrected = await connection.fetchrow(
        "SELECT (SELECT count(*) FROM open_intents), "
        "(SELECT coalesce(sum(settled + released), 0)::bigint FROM prunes), (SELECT count(*) FROM corrections)"
    )
    return Verification(
        settled=states.get("settled", 0),
        released=states.get("released", 0),
        unknown=states.get("unknown", 0),
        open=still_open,
        problems=await problems(connection),
        pruned=pruned,
        corrected=corrected,
    )


async def problems(connection: asyncpg.Connection[Any]) -> list[str]:
    """One sentence for each thing that is wrong. Sums are looked at only where the rows are right: they would tell
    the same story again.
    """
    found = [*await _missing_triggers(connection), *await _wrong_rows(connection)]
    return found or [*await _wrong_sums(connection), *await budget_problems(connection)]


async def _missing_triggers(connection: asyncpg.Connection[Any]) -> list[str]:
    rows = await connection.fetch(
        "SELECT name FROM unnest($1::text[]) AS t (name) WHERE NOT EXISTS ("
        "SELECT FROM pg_trigger AS g JOIN pg_class AS c ON c.oid = g.tgrelid "
        "WHERE g.tgname = t.name AND g.tgenabled <> 'D' AND c.relnamespace = current_schema::regnamespace)",
        list(TRIGGERS),
    )
    return [f"the trigger {name} is gone, so rows or sums may have been changed" for (name,) in rows]


async def _wrong_rows(connection: asyncpg.Connection[Any]) -> list[str]:
    found: list[str] = []
    for sentence, query in _RULES:
        ids = [row[0] for row in await connection.fetch(query, timeout=LONG)]
        found += [sentence.format(identity) for identity in ids[:MAX_EXAMPLES]]
        if len(ids) > MAX_EXAMPLES:
            found.append(f"{sentence.format('…')}: {len(ids) - MAX_EXAMPLES} more")
    return found


async def _wrong_sums(connection: asyncpg.Connection[Any]) -> list[str]:
    """Hours must be what their rows add up to, as far as there are rows; days what their hours add up to."""
    said: list[str] = []
    for span, query, asked in (("hour", _HOURS, [await pruned_before(connection) // NS]), ("day", _DAYS, [])):
        found = await connection.fetch(query, *asked, timeout=LONG)
        for start, key, _, model, *_ in found[:MAX_EXAMPLES]:
            said.append(f"the sum of key {key} and model {model} for the {span} from Unix time {start} is wrong")
        if len(found) > MAX_EXAMPLES:
            said.append(f"sums of {span}s that are wrong: {len(found) - MAX_EXAMPLES} more")
    return said
