"""A month's usage out of a PostgreSQL store of millions of rows: how long reports take.

    python -m bench.usage [--rows 5000000] [--minutes 10] [--gigabytes 10] [--keys 200] [--json FILE] [--url URL]

Makes the rows of a month in the order of time, in statements as the ledger's, so that the store's own triggers keep
the sums, and folds these after every hour as a gateway does. It stops at the first of the bounds. At a tenth and at all
of the rows it asks what people ask, through the program's own reader, and at the end checks the sums against the rows.
Without --url it starts a server of its own, with fsync off: reading is what is measured. Best and median are seconds on
the clock, of which noise only ever adds; cpu is what both processes worked.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
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
from gateway.stores.postgres.rollup import LONG
from gateway.stores.postgres.usage import PostgresUsage

HOUR_NS = 3_600 * 10**9
FIRST = int(datetime(2026, 10, 1, tzinfo=UTC).timestamp()) * 10**9
DAYS = 31
END = FIRST + DAYS * 24 * HOUR_NS

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

UPSTREAMS, CERTAINTIES = 2, 3
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
    """One report: its name, how it is asked, and whether it also reads rows of requests, beside sums."""

    name: str
    ask: Callable[[PostgresUsage], Awaitable[Any]]
    reads_rows: bool = False


def _usage(by: Sequence[str], period: Period, zone: Any = UTC) -> Callable[[PostgresUsage], Awaitable[Any]]:
    return lambda reports: usage_rows(reports, period, list(by), zone)


_MONTH = Period(FIRST, END)
_ODD = Period(FIRST + 1_234_567_890_123, END - 987_654_321_987)

QUESTIONS = (
    Question("the month by key and team", _usage(("key", "team"), _MONTH)),
    Question("the month by model and upstream", _usage(("model", "upstream"), _MONTH)),
    Question("the month by day, Berlin", _usage(("day",), _MONTH, BERLIN)),
    Question("the month by day and key, Berlin", _usage(("day", "key"), _MONTH, BERLIN)),
    Question("the month from and to an odd second, by key", _usage(("key",), _ODD), reads_rows=True),
    Question("charged since the month began", lambda reports: reports.charged_since(FIRST)),
    Question("what is held", lambda reports: reports.held(END), reads_rows=True),
)


def main() -> int:
    """Exit code: 0 if each report takes less than the limit and the sums are the rows', 1 if not, 2 for bad usage."""
    options = _options()
    with _server(options.url) as url:
        result = asyncio.run(_measured(url, options))
    text = json.dumps(result, indent=1)
    slowest = max(map(judged, result["sizes"][-1]["seconds_a_report"].values()))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0 if slowest < LIMIT_SECONDS and not result["verify"]["problems"] else 1


def judged(asked: Mapping[str, Any]) -> float:
    """The seconds that a report takes on a machine that does nothing else: its CPU, or else the best on the clock."""
    cpu: float | None = asked["cpu"]
    return asked["best"] if cpu is None else cpu


async def _measured(url: str, options: argparse.Namespace) -> dict[str, Any]:
    pool = await PostgresPool.open(url, "bench", 1)  # one, so that its process can be looked at
    sizes: list[dict[str, Any]] = []
    try:
        async with pool.connection() as connection:
            if not await migrate(connection, 1, pool.name):
                raise SystemExit("bench.usage: --url must name an empty database")
            await connection.execute("SELECT make_ledger_months($1, $2)", FIRST, END)
            version = await connection.fetchval("SHOW server_version")
        began, made = time.monotonic(), 0
        for part in PARTS:
            made = await _fill(pool, made, int(options.rows * part), began, options)
            sizes.append(await _size(pool, made, time.monotonic() - began))
        start = time.perf_counter()
        problems = (await PostgresUsage(pool).verify()).problems
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
        f"extrapolated_to_{EXTRAPOLATED}_rows": extrapolated(sizes, options.keys),
    }


async def _fill(pool: PostgresPool, made: int, wanted: int, began: float, options: argparse.Namespace) -> int:
    """Add rows all over the month until there are so many, or a bound is reached; returns how many there are."""
    hours = options.days * 24
    each = -(-(wanted - made) // hours)  # rounded up: fewer rows than were asked for prove nothing
    for hour in range(hours):
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


async def _worked(pool: PostgresPool) -> float | None:
    """Seconds of CPU of this process and of the server's that works for it; None for a server elsewhere."""
    async with pool.connection() as connection:
        server = _cpu_of(await connection.fetchval("SELECT pg_backend_pid()"))
    return None if server is None else time.process_time() + server


def _cpu_of(process: int) -> float | None:
    place = Path(f"/proc/{process}/stat")
    if not place.exists():
        return None
    fields = place.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _size(pool: PostgresPool, rows: int, seconds: float) -> dict[str, Any]:
    """What there is, and how long each report takes of it."""
    async with pool.connection() as connection:
        stored = await connection.fetchval("SELECT pg_database_size(current_database())")
        hours, days = await connection.fetchrow(
            "SELECT count(*) FILTER (WHERE span = 3600), count(*) FILTER (WHERE span = 86400) FROM spent"
        )
    reports: dict[str, dict[str, float | None]] = {}
    for question in QUESTIONS:
        taken, work = [], []
        for _ in range(ASKED):
            before, start = await _worked(pool), time.perf_counter()
            await question.ask(PostgresUsage(pool))
            taken.append(round(time.perf_counter() - start, 4))
            work.append(None if before is None else round((await _worked(pool) or 0.0) - before, 4))
        cpu = median(work) if None not in work else None
        reports[question.name] = {"best": min(taken), "median": round(median(taken), 4), "cpu": cpu}
        _progress(f"{rows:,} rows: {question.name}: {reports[question.name]}")
    return {
        "rows": rows,
        "gigabytes": round(stored / 1e9, 2),
        "sums_by_hour": hours,
        "sums_by_day": days,
        "seconds_to_make": round(seconds, 1),
        "load_average": round(os.getloadavg()[0], 1),
        "seconds_a_report": reports,
    }


def extrapolated(sizes: Sequence[Mapping[str, Any]], keys: int) -> dict[str, Any]:
    """For so many rows: on the line through both sizes, or, where that is less and only sums are read, what it takes if
    every hour and day has a sum of every key with every model, upstream and certainty: there cannot be more.
    """
    few, many = sizes[0], sizes[-1]
    most = keys * len(_MODELS) * UPSTREAMS * CERTAINTIES
    # A month by day of Berlin reads its days, and two hours at the begin and the end of each: no report reads more.
    fuller = DAYS * (1 + 2) * most / (many["sums_by_day"] + many["sums_by_hour"] * 2 / 24)
    seconds = {}
    for question in QUESTIONS:
        less, more = (judged(size["seconds_a_report"][question.name]) for size in (few, many))
        line = more + max(0.0, more - less) * (EXTRAPOLATED - many["rows"]) / max(1, many["rows"] - few["rows"])
        seconds[question.name] = round(line if question.reads_rows else min(line, more * max(1.0, fuller)), 2)
    return {
        "what": "not measured: seconds of CPU, by the line through both sizes or the most sums that there can be",
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
    parser.add_argument("--days", type=int, default=DAYS, metavar="D", help="of the month, to try it; default: all")
    parser.add_argument("--keys", type=int, default=200, metavar="N", help="virtual keys; default: %(default)s")
    parser.add_argument("--url", metavar="URL", help="an empty database; default: a server of its own")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there too")
    options = parser.parse_args()
    if not 1 <= options.days <= DAYS or options.rows < options.days * 240 or not 1 <= options.keys <= 100_000:
        parser.error(f"--days goes from 1 to {DAYS}, --rows begins at 240 a day, --keys goes from 1 to 100000")
    return options


def _progress(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
