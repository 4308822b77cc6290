"""A month's usage out of a PostgreSQL store of millions of rows: how long reports take.

    python -m bench.usage [--rows 5000000] [--minutes 10] [--gigabytes 10] [--keys 200] [--json FILE] [--url URL]

Makes the rows of a month in the order of time, in statements as the ledger's, so that the store's own triggers keep
the sums, and folds these after every hour as a gateway does. It stops at the first of the bounds. At a tenth and at all
of the rows it asks what people ask, through the program's own reader, and at the end checks the sums against the rows.
Without --url it starts a server of its own, with fsync off: reading is what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

from bench.conditions import conditions
from gateway.billing.usage import Period, usage_rows
from gateway.stores.postgres.folding import fold
from gateway.stores.postgres.migrating import migrate
from gateway.stores.postgres.pool import PostgresPool
from gateway.stores.postgres.reader import PostgresReader
from gateway.stores.postgres.rollup import LONG

HOUR_NS = 3_600 * 10**9
FIRST = int(datetime(2026, 10, 1, tzinfo=UTC).timestamp()) * 10**9
HOURS = 31 * 24
END = FIRST + HOURS * HOUR_NS

LIMIT_SECONDS = 2.0
"""What a month's usage may take."""

EXTRAPOLATED = 50_000_000

PARTS = (0.1, 1.0)
"""Of the rows, at which it asks."""

ASKED = 5
"""Times each report is asked for."""

OWN_SERVER = {"shared_buffers": "512MB", "max_wal_size": "4GB", "work_mem": "16MB"}
"""Settings of a server of a small machine."""

BERLIN = ZoneInfo("Europe/Berlin")

_MODELS = ["gpt-4o", "gpt-4o-mini", "gpt-image-1", "flux-dev", "text-embedding-3-small"]

# Ids begin with their number. Keys differ in how much they ask, by the square of a number from 0 to 1.
_INTENTS = """
INSERT INTO intents
SELECT
    lpad(to_hex($1::bigint + n), 12, '0') || substr(md5(($1 + n)::text), 1, 20),
    $2::bigint + n * ($3::bigint / $4::bigint),
    'key' || k, CASE WHEN k % 3 = 0 THEN NULL ELSE 'team' || k % 10 END, 'chat', ($6::text[])[1 + (n * 7919) % 5],
    'req_' || n, 2000000, false, 1, NULL, 'gw_bench'
FROM (SELECT n, floor(power(random(), 2) * $5::integer)::integer AS k FROM generate_series(0, $4 - 1) AS n) AS rows
"""

_SETTLEMENTS = """
INSERT INTO settlements (
    id, intent_ns, at_ns, state, upstream, endpoint, credential, attempts, input_tokens, cached_input_tokens,
    output_tokens, images, charged, upstream_cost, confidence, status, price, cache_write_tokens, reasoning_tokens
)
SELECT
    id, at_ns, at_ns + 2000000000,
    CASE WHEN bucket < 2 THEN 'released' WHEN bucket = 2 THEN 'unknown' ELSE 'settled' END,
    upstream, 'https://api.example', 'first',
    jsonb_build_array(jsonb_build_object(
        'upstream', upstream, 'endpoint', 'https://api.example', 'credential', 'first', 'outcome', 'ok', 'phase', 4,
        'cost', cost, 'reason', 'billed', 'task_id', NULL
    )),
    1000, 200, 300, 0, CASE WHEN bucket < 3 THEN 0 ELSE cost END, cost,
    CASE WHEN bucket = 2 THEN 'unknown' WHEN bucket < 30 THEN 'estimated' ELSE 'measured' END, 200, NULL, 0, 0
FROM (
    SELECT id, at_ns, abs(hashtext(id)) % 1000 AS bucket,
        CASE WHEN abs(hashtext(id)) % 20 = 0 THEN 'backup' ELSE 'piapi' END AS upstream,
        CASE WHEN abs(hashtext(id)) % 1000 < 2 THEN 0 ELSE 1230000 END AS cost
    FROM intents
    WHERE at_ns >= $1 AND at_ns < $2 AND id >= lpad(to_hex($3::bigint), 12, '0')
    AND id < lpad(to_hex($4::bigint), 12, '0')
) AS rows
"""


@dataclass(frozen=True)
class Question:
    """One report: its name, and how it is asked."""

    name: str
    ask: Callable[[PostgresReader], Awaitable[Any]]


def _usage(by: Sequence[str], period: Period, zone: Any = UTC) -> Callable[[PostgresReader], Awaitable[Any]]:
    return lambda reader: usage_rows(reader.usage, period, list(by), zone)


_MONTH = Period(FIRST, END)
_ODD = Period(FIRST + 1_234_567_890_123, END - 987_654_321_987)

QUESTIONS = (
    Question("the month by key and team", _usage(("key", "team"), _MONTH)),
    Question("the month by model and upstream", _usage(("model", "upstream"), _MONTH)),
    Question("the month by day, Berlin", _usage(("day",), _MONTH, BERLIN)),
    Question("the month by day and key, Berlin", _usage(("day", "key"), _MONTH, BERLIN)),
    Question("the month from and to an odd second, by key", _usage(("key",), _ODD)),
    Question("charged since the month began", lambda reader: reader.usage.charged_since(FIRST)),
    Question("what is held", lambda reader: reader.usage.held(END)),
)


def main() -> int:
    """Exit code: 0 if every report was below the limit and the sums are the rows', 1 if not, 2 for bad usage."""
    options = _options()
    with _server(options.url) as url:
        result = asyncio.run(_measured(url, options))
    text = json.dumps(result, indent=1)
    slowest = max(asked["worst"] for asked in result["sizes"][-1]["seconds_a_report"].values())
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0 if slowest < LIMIT_SECONDS and not result["verify"]["problems"] else 1


async def _measured(url: str, options: argparse.Namespace) -> dict[str, Any]:
    pool = await PostgresPool.open(url, "bench", 2)
    reader, sizes = PostgresReader(url), []
    try:
        async with pool.connection() as connection:
            if not await migrate(connection, 1, pool.name):
                raise SystemExit("bench.usage: --url must name an empty database")
            await connection.execute("SELECT make_ledger_months($1, $2)", FIRST, END)
            version = await connection.fetchval("SHOW server_version")
        began, made = time.monotonic(), 0
        for part in PARTS:
            made = await _fill(pool, made, int(options.rows * part), began, options)
            sizes.append(await _size(pool, reader, made, time.monotonic() - began))
        start = time.perf_counter()
        problems = (await reader.usage.verify()).problems
        verified = time.perf_counter() - start
    finally:
        await pool.close()
    told = conditions()
    return {
        "conditions": {name: told[name] for name in ("date", "commit", "machine")},
        "postgresql": version,
        "server": "as given" if options.url else f"its own: {OWN_SERVER}, fsync off",
        "keys": options.keys,
        "sizes": sizes,
        "verify": {"seconds": round(verified, 1), "problems": problems},
        f"extrapolated_to_{EXTRAPOLATED}_rows": _extrapolated(sizes),
    }


async def _fill(pool: PostgresPool, made: int, wanted: int, began: float, options: argparse.Namespace) -> int:
    """Add rows all over the month until there are so many, or a bound is reached; returns how many there are."""
    each = max(1, (wanted - made) // HOURS)
    for hour in range(HOURS):
        start = FIRST + hour * HOUR_NS
        async with pool.transaction() as connection:
            await connection.execute("SET LOCAL synchronous_commit = off")
            await connection.execute(_INTENTS, made, start, HOUR_NS - 1_000, each, options.keys, _MODELS, timeout=LONG)
            await connection.execute(_SETTLEMENTS, start, start + HOUR_NS, made, made + each, timeout=LONG)
        await fold(pool)
        made += each
        if hour % 24 == 23:
            async with pool.connection() as connection:
                size = await connection.fetchval("SELECT pg_database_size(current_database())")
            _progress(f"{made:,} rows, {size / 1e9:.1f} GB, {time.monotonic() - began:.0f} s")
            if time.monotonic() - began > options.minutes * 60 or size > options.gigabytes * 10**9:
                break
    async with pool.connection() as connection:
        await connection.execute("VACUUM (ANALYZE)", timeout=LONG)  # as the server does by itself, if later
    return made


async def _size(pool: PostgresPool, reader: PostgresReader, rows: int, seconds: float) -> dict[str, Any]:
    """What there is, and how long each report takes of it."""
    async with pool.connection() as connection:
        stored = await connection.fetchval("SELECT pg_database_size(current_database())")
        hours, days = await connection.fetchrow(
            "SELECT count(*) FILTER (WHERE span = 3600), count(*) FILTER (WHERE span = 86400) FROM spent"
        )
    reports: dict[str, dict[str, float]] = {}
    for question in QUESTIONS:
        taken = []
        for _ in range(ASKED):
            start = time.perf_counter()
            await question.ask(reader)
            taken.append(round(time.perf_counter() - start, 4))
        reports[question.name] = {"first": taken[0], "median": round(median(taken), 4), "worst": max(taken)}
        _progress(f"{rows:,} rows: {question.name}: {reports[question.name]}")
    return {
        "rows": rows,
        "gigabytes": round(stored / 1e9, 2),
        "sums_by_hour": hours,
        "sums_by_day": days,
        "seconds_to_make": round(seconds, 1),
        "seconds_a_report": reports,
    }


def _extrapolated(sizes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """On the line through both sizes: too much rather than too little, since sums by hour are no more than there are
    keys, models and upstreams.
    """
    few, many = sizes[0], sizes[-1]
    seconds = {}
    for name, asked in many["seconds_a_report"].items():
        slope = (asked["median"] - few["seconds_a_report"][name]["median"]) / max(1, many["rows"] - few["rows"])
        seconds[name] = round(asked["median"] + max(0.0, slope) * (EXTRAPOLATED - many["rows"]), 3)
    return {
        "what": "not measured: the medians, continued on the straight line through both sizes",
        "gigabytes": round(many["gigabytes"] * EXTRAPOLATED / many["rows"], 1),
        "seconds_a_report": seconds,
    }


@contextmanager
def _server(url: str | None) -> Iterator[str]:
    if url:
        yield url
        return
    from tests.engines import PostgresServer

    server = PostgresServer(**OWN_SERVER)
    try:
        yield server.new_database()
    finally:
        server.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.usage", description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000, metavar="N", help="rows to make; default: %(default)s")
    parser.add_argument("--minutes", type=float, default=10.0, metavar="M", help="stop making rows after so long")
    parser.add_argument("--gigabytes", type=float, default=10.0, metavar="G", help="stop making rows at such a size")
    parser.add_argument("--keys", type=int, default=200, metavar="N", help="virtual keys; default: %(default)s")
    parser.add_argument("--url", metavar="URL", help="an empty database; default: a server of its own")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there too")
    options = parser.parse_args()
    if options.rows < HOURS * 10 or not 1 <= options.keys <= 100_000:
        parser.error(f"--rows begins at {HOURS * 10}, --keys goes from 1 to 100000")
    return options


def _progress(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
