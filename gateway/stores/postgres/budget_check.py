"""Whether the budgets' rows are what the books say: charged is the sum of the books, reserved that of what is open or
held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.core.pricing.charged_sums import charged_by_holder
from gateway.core.pricing.claims import holder_of
from gateway.stores.postgres.open_exchanges import charged_since

if TYPE_CHECKING:
    import asyncpg

_SUMS = """
SELECT b.holder, b.kind, b.start_ns, b.end_ns, b.charged, b.reserved, b.held, b.seeded,
       coalesce(r.reserved, 0) AS sum_reserved, coalesce(r.held, 0) AS sum_held
FROM budgets AS b LEFT JOIN (
    SELECT budget, sum(amount)::bigint AS reserved, coalesce(sum(amount) FILTER (WHERE held), 0)::bigint AS held
    FROM reservations CROSS JOIN unnest(budgets) AS budget GROUP BY budget
) AS r ON r.budget = b.id
ORDER BY b.holder, b.kind, b.start_ns
"""

_STRAY = """
SELECT r.id FROM reservations AS r
WHERE r.held = EXISTS (SELECT FROM open_intents AS o WHERE o.id = r.id)
OR EXISTS (SELECT FROM corrections AS c WHERE c.id = r.id)
ORDER BY r.id
"""
"""What is neither open nor held, or both."""


async def budget_problems(connection: asyncpg.Connection[Any]) -> list[str]:
    """What is wrong with the budgets' rows, one sentence each.

    In a transaction that sees one moment (repeatable read). Raises the errors of asyncpg.
    """
    problems = []
    books: dict[tuple[int, int | None], dict[Any, int]] = {}
    for row in await connection.fetch(_SUMS):
        period = (row["start_ns"], row["end_ns"])
        if period not in books:
            books[period] = charged_by_holder(await charged_since(connection, *period))
        whose = f"the budget of {row['holder']} ({row['kind']} from {row['start_ns']})"
        holder = holder_of(row["holder"])
        charged = books[period].get(holder[:2], 0)
        if row["seeded"] and len(holder) == 2 and row["charged"] != charged:
            problems.append(f"{whose} has charged {row['charged']}, the books {charged}")
        if row["seeded"] and len(holder) == 3 and not 0 <= row["charged"] <= charged:
            problems.append(f"{whose} has charged {row['charged']}, more than the books have of the key, {charged}")
        if row["reserved"] != row["sum_reserved"] or row["held"] != row["sum_held"]:
            problems.append(
                f"{whose} has reserved {row['reserved']} and held {row['held']} of it, "
                f"its requests {row['sum_reserved']} and {row['sum_held']}"
            )
    problems += [
        f"exchange {row['id']} reserves on budgets as if it had not ended as the books have it"
        for row in await connection.fetch(_STRAY)
    ]
    return problems
