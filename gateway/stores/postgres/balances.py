"""Holding the ledger against the upstream's own bill: snapshots of what is left on accounts, and what lies between."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

from gateway.core import errors
from gateway.core.errors import StoreError
from gateway.stores.postgres.rollup import LONG, Connections, pruned_before, snapshot
from gateway.stores.records import Balance, BalancePeriod

if TYPE_CHECKING:
    import asyncpg

Account = tuple[str, str]
"""An upstream, and the name of one of its keys."""

_OWED = """
WITH attempts AS (
    SELECT i.at_ns, a ->> 'upstream' AS upstream, a ->> 'credential' AS credential, (a ->> 'cost')::numeric AS cost
    FROM intents AS i
    JOIN settlements AS s ON s.id = i.id AND s.intent_ns = i.at_ns
    CROSS JOIN LATERAL jsonb_array_elements(s.attempts) AS a
    WHERE i.at_ns >= $1 AND i.at_ns < $2 AND s.intent_ns >= $1 AND s.intent_ns < $2
    AND NOT EXISTS (SELECT FROM corrections AS c WHERE c.id = s.id)
    UNION ALL
    SELECT s.intent_ns, coalesce(c.upstream, s.upstream), coalesce(c.credential, s.credential), c.upstream_cost
    FROM corrections AS c
    JOIN settlements AS s ON s.id = c.id AND s.intent_ns = c.intent_ns
    WHERE c.intent_ns >= $1 AND c.intent_ns < $2
)
SELECT width_bucket(at_ns, $3::bigint[]) - 1, upstream, credential, sum(cost)::text
FROM attempts WHERE (upstream, credential) IN (SELECT * FROM unnest($4::text[], $5::text[])) GROUP BY 1, 2, 3
"""
"""What all attempts of accounts cost, by the moments that they lie between; where an exchange was corrected, what the
correction says instead. One look at the rows, however many periods there are.
"""


class PostgresBalances:
    """Snapshots of accounts. Implements ``stores.base.BalanceRecords``."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def record(self, snapshots: Sequence[Balance]) -> None:
        try:
            async with self._connections.connection() as connection:
                await connection.execute(
                    "INSERT INTO balances (upstream, credential, at_ns, balance_nano) "
                    "SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) ON CONFLICT DO NOTHING",
                    [one.upstream for one in snapshots],
                    [one.credential for one in snapshots],
                    [one.at_ns for one in snapshots],
                    [one.nano for one in snapshots],
                )
        except StoreError as error:
            raise errors.ledger_unavailable() from error

    async def periods(self, since_ns: int, until_ns: int) -> list[BalancePeriod]:
        async with snapshot(self._connections) as connection:
            rows = await connection.fetch(
                "SELECT upstream, credential, at_ns, balance_nano FROM balances WHERE at_ns >= $1 AND at_ns < $2 "
                'ORDER BY upstream COLLATE "C", credential COLLATE "C", at_ns',
                since_ns,
                until_ns,
            )
            snapshots = [Balance(*row) for row in rows]
            between = [
                pair
                for _, own in groupby(snapshots, key=lambda balance: (balance.upstream, balance.credential))
                for pair in pairwise(own)
            ]
            if not between:
                return []
            pruned = await pruned_before(connection)
            known = [pair for pair in between if pair[0].at_ns >= pruned]
            owed = await _owed(connection, known) if known else _Owed((), {})
        return [
            BalancePeriod(first, last, None if first.at_ns < pruned else owed.between(first, last))
            for first, last in between
        ]


class _Owed:
    """What was owed between moments. ``costs``: of an account, by the number of the moment that it came in after."""

    def __init__(self, moments: Sequence[int], costs: Mapping[Account, Mapping[int, int]]) -> None:
        self._moments = moments
        self._costs = costs

    def between(self, first: Balance, last: Balance) -> int:
        """Nano-dollars from the first moment until before the last one, at the account of both."""
        own = self._costs.get((first.upstream, first.credential), {})
        numbers = range(bisect_left(self._moments, first.at_ns), bisect_left(self._moments, last.at_ns))
        return sum(own.get(number, 0) for number in numbers)


async def _owed(connection: asyncpg.Connection[Any], periods: Sequence[tuple[Balance, Balance]]) -> _Owed:
    moments = sorted({balance.at_ns for balance in _ends(periods)})
    accounts = sorted({(balance.upstream, balance.credential) for balance in _ends(periods)})
    upstreams, credentials = zip(*accounts, strict=True)
    rows = await connection.fetch(
        _OWED, moments[0], moments[-1], moments, list(upstreams), list(credentials), timeout=LONG
    )
    costs: dict[Account, dict[int, int]] = defaultdict(dict)
    for number, upstream, credential, cost in rows:
        costs[upstream, credential][number] = int(cost)
    return _Owed(moments, costs)


def _ends(periods: Sequence[tuple[Balance, Balance]]) -> Iterator[Balance]:
    for period in periods:
        yield from period
