"""What the ledger costs a request: reserve and settle against a real file, on uvloop.

    python bench/ledger.py [--requests 40000] [--concurrency 64] [--random-ids] [--switch-interval 0.0005]

``bare``: how long SQLite takes for the row of an intent, and nothing else. ``lone``: one request at a time on an idle
loop; how long ``reserve`` takes. ``beside``: the same while another request runs, so that it goes to the writer's
thread. ``saturated``: many requests at once, each
doing some work of its own between reserve and settle, so that the loop never idles; the same run without a ledger is
subtracted.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import secrets
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from statistics import quantiles

import uvloop

from gateway.core.types import Usage
from gateway.runtime.ports import SystemClock
from gateway.stores.records import AttemptRecord, ExchangeRecord
from gateway.stores.sqlite.inserts import insert_intents
from gateway.stores.sqlite.ledger import SQLiteLedger
from gateway.stores.sqlite.schema import open_for_writing

ATTEMPTS = (AttemptRecord("piapi", "https://api.piapi.ai", "first", "ok", 4, 123_456),)


def identity(number: int, random_ids: bool) -> str:
    return secrets.token_hex(16) if random_ids else f"{number:012x}{secrets.token_hex(10)}"


def intent(identity: str) -> ExchangeRecord:
    return ExchangeRecord(identity, time.time_ns(), "alice", "growth", "chat", "gpt-4o-mini", f"req_{identity}")


def settlement(identity: str) -> ExchangeRecord:
    return ExchangeRecord(
        identity,
        settled_ns=time.time_ns(),
        state="settled",
        upstream="piapi",
        endpoint="https://api.piapi.ai",
        credential="first",
        attempts=ATTEMPTS,
        usage=Usage(1_000, 0, 500),
        charged=123_456,
        upstream_cost=123_456,
        confidence="measured",
        status=200,
    )


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def work(turns: int) -> None:
    for _ in range(turns):
        pass


def bare_commits(folder: Path, options: argparse.Namespace) -> None:
    taken = []
    with closing(open_for_writing(folder / "bare.db", time.time_ns())) as connection:
        for number in range(2_000):
            mine = intent(identity(number, options.random_ids))
            start = time.perf_counter()
            insert_intents(connection, [mine])
            taken.append(time.perf_counter() - start)
    _print_times("bare", taken)


async def lone(name: str, ledger: SQLiteLedger, first: int, options: argparse.Namespace) -> None:
    taken = []
    for number in range(first, first + 2_000):
        mine = intent(identity(number, options.random_ids))
        start = time.perf_counter()
        await ledger.reserve(mine)
        taken.append(time.perf_counter() - start)
        ledger.settle(settlement(mine.id))
        await asyncio.sleep(0)
    _print_times(name, taken)


def _print_times(name: str, taken: list[float]) -> None:
    cuts = quantiles(taken, n=100)
    print(f"{name:10} reserve p50 {cuts[49] * 1e6:6.0f} us   p99 {cuts[98] * 1e6:6.0f} us")


async def saturated(
    ledger: SQLiteLedger | None, first: int, options: argparse.Namespace
) -> tuple[float, float, list[float]]:
    """Seconds of CPU and of wall clock a request, and how long each reserve took."""
    numbers = iter(range(first, first + options.requests))
    waits: list[float] = []

    async def client() -> None:
        for number in numbers:
            mine = intent(identity(number, options.random_ids))
            start = time.perf_counter()
            if ledger is None:
                await asyncio.sleep(0)
            else:
                await ledger.reserve(mine)
            waits.append(time.perf_counter() - start)
            for _ in range(4):
                work(options.work)
                await asyncio.sleep(0)
            closing = settlement(mine.id)
            if ledger is not None:
                ledger.settle(closing)

    used, start = cpu(), time.perf_counter()
    await asyncio.gather(*(client() for _ in range(options.concurrency)))
    while ledger is not None and ledger.pending:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    return (cpu() - used) / options.requests, (time.perf_counter() - start) / options.requests, waits


async def measure(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ledger = await SQLiteLedger.open(Path(folder) / "bench.db", clock=SystemClock())
        bare_commits(Path(folder), options)
        await lone("lone", ledger, 0, options)
        other = intent(identity(10_000, options.random_ids))
        await ledger.reserve(other)
        await lone("beside", ledger, 20_000, options)
        ledger.settle(settlement(other.id))
        for turn in range(1, options.rounds + 1):
            bare, bare_wall, _ = await saturated(None, 0, options)
            full, wall, waits = await saturated(ledger, turn * 10_000_000, options)
            cuts = quantiles(waits, n=100)
            print(
                f"saturated  {(full - bare) * 1e6:5.1f} us CPU a request for reserve and settle"
                f" (all: {full * 1e6:.1f} us CPU, {1 / wall:,.0f}/s;"
                f" without: {bare * 1e6:.1f} us, {1 / bare_wall:,.0f}/s)"
                f"   reserve p50 {cuts[49] * 1e3:.2f} ms p99 {cuts[98] * 1e3:.2f} ms"
            )
            options.requests += 1  # no id twice
        await ledger.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=40_000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=int, default=500, help="turns of an empty loop, four times a request")
    parser.add_argument("--random-ids", action="store_true", help="ids in no order of time")
    parser.add_argument("--switch-interval", type=float, default=sys.getswitchinterval())
    options = parser.parse_args()
    sys.setswitchinterval(options.switch_interval)
    uvloop.run(measure(options))


if __name__ == "__main__":
    main()
