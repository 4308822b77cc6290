"""The gateways that share a PostgreSQL store. A lease is held by beats, and runs out by the server's clock."""

from __future__ import annotations

import json
from typing import Any

from gateway.stores.gateway_records import LEASE, GatewayState, SeenGateway
from gateway.stores.postgres.pool import PostgresPool

_BEAT = """
INSERT INTO gateways AS g
    (id, started_at_ns, seen_at, version, hostname, pid, main_url, admin_url, in_flight, sees, reaped_by)
VALUES ($1, $2, clock_timestamp(), $3, $4, $5, $6, $7, $8, $9::jsonb, NULL)
ON CONFLICT (id) DO UPDATE SET
    seen_at = excluded.seen_at, main_url = excluded.main_url, admin_url = excluded.admin_url,
    in_flight = excluded.in_flight, sees = excluded.sees, reaped_by = NULL
"""

_ALL = """
SELECT id, started_at_ns, version, hostname, pid, main_url, admin_url, in_flight, sees::text AS sees,
       (extract(epoch FROM seen_at) * 1000000)::bigint AS seen_us,
       seen_at > clock_timestamp() - make_interval(secs => $1) AS live
FROM gateways ORDER BY started_at_ns, id
"""

_CLAIM = """
WITH dead AS (
    SELECT id FROM gateways AS g
    WHERE g.seen_at <= clock_timestamp() - make_interval(secs => $2) AND g.id <> $1
      AND (g.reaped_by IS NULL OR g.reaped_by = $1 OR NOT EXISTS (
          SELECT FROM gateways AS reaper
          WHERE reaper.id = g.reaped_by AND reaper.seen_at > clock_timestamp() - make_interval(secs => $2)))
    ORDER BY g.id
    FOR UPDATE SKIP LOCKED
)
UPDATE gateways SET reaped_by = $1 FROM dead WHERE gateways.id = dead.id RETURNING gateways.id
"""
"""Who is locked is being claimed by another, or beats just now."""


class PostgresGateways:
    """Implements ``stores.gateway_records.GatewayRecords``."""

    alone = False

    def __init__(self, pool: PostgresPool) -> None:
        self._pool = pool

    async def beat(self, gateway: GatewayState) -> None:
        sees = json.dumps(dict(gateway.sees))
        about = (gateway.version, gateway.hostname, gateway.pid, gateway.main_url, gateway.admin_url)
        async with self._pool.connection() as connection:
            await connection.execute(_BEAT, gateway.id, gateway.started_at_ns, *about, gateway.in_flight, sees)

    async def all(self) -> list[SeenGateway]:
        async with self._pool.connection() as connection:
            return [_seen(row) for row in await connection.fetch(_ALL, LEASE)]

    async def claim_dead(self, by: str) -> list[str]:
        async with self._pool.connection() as connection:
            return sorted(row["id"] for row in await connection.fetch(_CLAIM, by, LEASE))

    async def forget(self, id: str, by: str) -> None:
        async with self._pool.connection() as connection:
            await connection.execute("DELETE FROM gateways WHERE id = $1 AND reaped_by = $2", id, by)

    async def leave(self, id: str) -> None:
        async with self._pool.connection() as connection:
            await connection.execute("DELETE FROM gateways WHERE id = $1", id)


def _seen(row: Any) -> SeenGateway:
    state = GatewayState(
        id=row["id"],
        started_at_ns=row["started_at_ns"],
        version=row["version"],
        hostname=row["hostname"],
        pid=row["pid"],
        main_url=row["main_url"],
        admin_url=row["admin_url"],
        in_flight=row["in_flight"],
        sees=json.loads(row["sees"]),
    )
    return SeenGateway(state, row["seen_us"] * 1000, row["live"])
