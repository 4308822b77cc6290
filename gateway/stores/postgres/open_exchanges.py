"""How things stand: what is held, what is in doubt, and what was charged since a budget's period began.

On a connection of the caller's; what is asked within one ``rollup.snapshot`` is of one moment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gateway.core.pricing.budgets import UNKNOWN_HELD_NS
from gateway.stores.postgres.rollup import LONG, add_up, pruned_before, rounded_end
from gateway.stores.records import Held, TaskRecord, UnknownExchange
from gateway.stores.spans import signed

if TYPE_CHECKING:
    import asyncpg

_EVER = 2**63 - 1

_IN_DOUBT = (
    "FROM settlements AS s JOIN intents AS i ON i.id = s.id AND i.at_ns = s.intent_ns "
    "WHERE s.state = 'unknown' AND s.intent_ns >= $1 AND i.at_ns >= $1 "
    "AND NOT EXISTS (SELECT FROM corrections AS c WHERE c.id = s.id)"
)
"""What was not corrected and came in since."""

_HELD = "i.id, i.at_ns, i.key, i.team, i.reserved, i.model"

Tasks = Mapping[str, tuple[TaskRecord, ...]]


async def held(connection: asyncpg.Connection[Any], now_ns: int) -> list[Held]:
    """The exchanges that are open, or unknown and not corrected, and came in less than UNKNOWN_HELD_NS ago.

    Oldest first.
    """
    rows = await connection.fetch(
        f"SELECT {_HELD}, false, i.route, i.request_id, s.attempts = '[]'::jsonb {_IN_DOUBT} "  # noqa: S608
        f"UNION ALL SELECT {_HELD}, true, i.route, i.request_id, false "
        "FROM open_intents AS o JOIN intents AS i ON i.id = o.id AND i.at_ns = o.at_ns WHERE o.at_ns >= $1 "
        "ORDER BY 2, 1",
        now_ns - UNKNOWN_HELD_NS + 1,
        timeout=LONG,
    )
    tasks = await _tasks_of_all(connection, [row[0] for row in rows])
    found: list[Held] = []
    for identity, at_ns, key, team, reserved, model, running, route, request, cut in rows:
        own = tuple(task.task_id for task in tasks.get(identity, ()))
        found.append(Held(identity, at_ns, key, team, reserved, model, running, route, request, cut, own))
    return found


async def unknown_exchanges(connection: asyncpg.Connection[Any], since_ns: int) -> list[UnknownExchange]:
    """The exchanges that came in at ``since_ns`` or later, are of unknown outcome and not corrected; oldest first."""
    rows = await connection.fetch(
        "SELECT i.id, i.at_ns, i.key, i.team, i.model, i.reserved, "  # noqa: S608
        "(SELECT coalesce(sum((a ->> 'cost')::numeric), 0)::bigint FROM jsonb_array_elements(s.attempts) AS a "
        "WHERE a ->> 'task_id' IS NULL) AS other_cost, "
        f"CASE WHEN s.attempts = '[]'::jsonb THEN i.pieces ELSE 0 END AS pieces {_IN_DOUBT} ORDER BY 2, 1",
        since_ns,
        timeout=LONG,
    )
    tasks = await _tasks_of_all(connection, [row["id"] for row in rows])
    found: list[UnknownExchange] = []
    for identity, at_ns, key, team, model, reserved, other_cost, pieces in rows:
        own = tasks.get(identity, ())
        untold = max(0, pieces - len(own))
        found.append(UnknownExchange(identity, at_ns, key, team, model, reserved, own, other_cost, untold))
    return found


async def charged_since(
    connection: asyncpg.Connection[Any], start_ns: int, end_ns: int | None = None
) -> dict[tuple[str, str | None, str], int]:
    """Nano-dollars charged for what came in at ``start_ns`` or later, and before ``end_ns``, by key, team and model.

    A key that changed its team appears with both: a key's sum is that over its teams, and the other way round.
    In a transaction of the caller's. What was pruned, and what is not folded into the roll-up yet, is in it.
    """
    until = _EVER if end_ns is None else await rounded_end(connection, end_ns)
    pieces = [("", *piece) for piece in signed(start_ns, until, await pruned_before(connection))]
    sums = await add_up(connection, pieces, ("key", "team", "model"), ("requests", "charged"))
    return {(key, team or None, model): charged for (_, key, team, model), (_, charged) in sums.items()}


async def tasks_of(connection: asyncpg.Connection[Any], exchange: str) -> tuple[TaskRecord, ...]:
    """The tasks recorded for an exchange, and those that only its attempts tell of: recording one may have failed."""
    return (await _tasks_of_all(connection, [exchange])).get(exchange, ())


async def _tasks_of_all(connection: asyncpg.Connection[Any], exchanges: Sequence[str]) -> Tasks:
    if not exchanges:
        return {}
    recorded = await connection.fetch(
        "SELECT task_id, upstream, credential, exchange, key, model, at_ns FROM tasks "
        "WHERE exchange = ANY ($1::text[]) ORDER BY at_ns, number",
        exchanges,
    )
    told = await connection.fetch(
        "SELECT a ->> 'task_id', a ->> 'upstream', a ->> 'credential', i.id, i.key, i.model, i.at_ns "
        "FROM settlements AS s JOIN intents AS i ON i.id = s.id AND i.at_ns = s.intent_ns "
        "CROSS JOIN LATERAL jsonb_array_elements(s.attempts) WITH ORDINALITY AS t (a, place) "
        "WHERE s.id = ANY ($1::text[]) AND a ->> 'task_id' IS NOT NULL ORDER BY i.id, place",
        exchanges,
        timeout=LONG,
    )
    found: dict[str, dict[tuple[str, str], TaskRecord]] = {}
    for row in (*recorded, *told):
        task = TaskRecord(*row)
        found.setdefault(task.exchange, {}).setdefault((task.task_id, task.upstream), task)
    return {exchange: tuple(tasks.values()) for exchange, tasks in found.items()}
