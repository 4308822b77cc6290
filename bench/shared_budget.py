"""What one budget that several gateways share costs: requests a second, and how long a reservation takes.

    python -m bench.shared_budget [--gateways 3] [--at-once 64] [--seconds 5] [--url postgresql://…]

Each gateway is a process with a ledger of its own on one PostgreSQL; each reserves, waits a little as a request does,
and settles, ``--at-once`` requests side by side. Compared are: keys without a budget, budgets of a thousand keys, and
one key's budget that all of them spend from: the hot row. Without ``--url`` a server is started that syncs to the
disk.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg

from gateway.core.exchange_record import ExchangeRecord
from gateway.core.pricing.budget_errors import Holder
from gateway.core.pricing.claims import Claim, Claims
from gateway.runtime.ports import SystemClock
from gateway.stores.engines import open_store
from tests.engines import PostgresServer

RUNS = 0.02
"""Seconds that a request lasts."""

CASES = ("no budget", "a thousand budgets", "one budget")
UNLIMITED = 10**17


def _counts(holder: Holder, key: str, team: str | None, model: str) -> bool:
    return holder[1] == key


def _claim(case: str, number: int) -> Claim:
    holder: Holder = ("key", f"key{number % 1_000}" if case == "a thousand budgets" else "hot")
    return Claim(holder) if case == "no budget" else Claim(holder, UNLIMITED)


async def _one(url: str, name: str, case: str, at_once: int, seconds: float, folder: Path) -> dict[str, Any]:
    """What one gateway gets through."""
    store = await open_store(url, SystemClock(), name, folder)
    ledger: Any = store.ledger
    if case != "no budget":
        await ledger.budgets.prepare([_claim(case, number) for number in range(1_000)], _counts, time.time_ns())
    waits: list[float] = []
    until = time.perf_counter() + seconds

    async def lane(lane: int) -> None:
        number = lane
        while time.perf_counter() < until:
            claim = _claim(case, number)
            record = ExchangeRecord(
                f"{case}.{name}.{number}",
                time.time_ns(),
                str(claim.holder[1]),
                None,
                "chat",
                "gpt-4o",
                "r",
                reserved=1_000,
            )
            record.claims = Claims([claim], 1_000)
            began = time.perf_counter()
            await ledger.reserve(record)
            waits.append(time.perf_counter() - began)
            await asyncio.sleep(RUNS)
            record.state, record.charged, record.settled_ns, record.confidence = (
                "settled",
                10,
                time.time_ns(),
                "measured",
            )
            ledger.settle(record)
            number += at_once

    began = time.perf_counter()
    await asyncio.gather(*map(lane, range(at_once)))
    took = time.perf_counter() - began
    await store.close()
    return {"requests": len(waits), "seconds": took, "waits": sorted(waits)}


async def _compare(url: str, gateways: int, at_once: int, seconds: float) -> None:
    connection = await asyncpg.connect(url)
    print(f"{gateways} gateways, {at_once} requests at once each, {RUNS * 1000:.0f} ms each, {seconds:.0f} s")
    print(
        f"{'':20} {'requests/s':>11} {'p50 ms':>8} {'p99 ms':>8} {'transactions/request':>21} {'WAL bytes/request':>18}"
    )
    for case in CASES:
        before = await _counters(connection)
        with TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "bench.shared_budget", "--url", url, "--at-once", str(at_once)]
            command += ["--seconds", str(seconds), "--case", case]
            children = [
                await asyncio.create_subprocess_exec(
                    *(*command, "--folder", f"{folder}/{number}", "--name", f"gw{number}"),
                    stdout=asyncio.subprocess.PIPE,
                )
                for number in range(gateways)
            ]
            told = [json.loads((await child.communicate())[0]) for child in children]
        after = await _counters(connection)
        requests = sum(one["requests"] for one in told)
        waits = sorted(wait for one in told for wait in one["waits"])
        transactions, wal = ((after[at] - before[at]) / requests for at in (0, 1))
        rate = sum(one["requests"] / one["seconds"] for one in told)
        p50, p99 = (waits[int(len(waits) * share)] * 1000 for share in (0.5, 0.99))
        print(f"{case:20} {rate:11.0f} {p50:8.1f} {p99:8.1f} {transactions:21.2f} {wal:18.0f}")
    rows = await connection.fetch('SELECT charged, reserved FROM budgets WHERE holder = \'["key","hot"]\'')
    print("the hot row:", [tuple(row) for row in rows])
    await connection.close()


async def _counters(connection: asyncpg.Connection[Any]) -> tuple[int, int]:
    """Transactions of the database and bytes of its log so far."""
    await asyncio.sleep(1.5)  # the server gathers its statistics
    row = await connection.fetchrow(
        "SELECT xact_commit, (pg_current_wal_insert_lsn() - '0/0')::bigint FROM pg_stat_database "
        "WHERE datname = current_database()"
    )
    assert row is not None
    return row[0], row[1]


def main(arguments: Sequence[str]) -> None:
    """Compare, or be one of the gateways that are compared."""
    parser = argparse.ArgumentParser(prog="bench.shared_budget", description=__doc__)
    parser.add_argument("--gateways", type=int, default=3)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--url", default="")
    for hidden in ("--case", "--name", "--folder"):
        parser.add_argument(hidden, default="", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.case:
        told = _one(given.url, given.name, given.case, given.at_once, given.seconds, Path(given.folder))
        print(json.dumps(asyncio.run(told)))
        return
    server = None if given.url else PostgresServer(fsync="on", full_page_writes="on")
    try:
        url = given.url or (server.new_database() if server is not None else "")
        asyncio.run(_prepare(url))
        asyncio.run(_compare(url, given.gateways, given.at_once, given.seconds))
    finally:
        if server is not None:
            server.close()


async def _prepare(url: str) -> None:
    with TemporaryDirectory() as folder:
        await (await open_store(url, SystemClock(), "gw_first", Path(folder))).close()


if __name__ == "__main__":
    main(sys.argv[1:])
