"""Makes ``first.db.gz`` with the code of 1a12672, the first version that had a store. Run in a tree of that commit:

git archive 1a12672 | tar -x -C TREE; cd TREE; PYTHONPATH=. python …/make_first.py FOLDER
"""

from __future__ import annotations

import asyncio
import gzip
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

HOUR = 3600 * 1_000_000_000
BEGIN = 1_795_305_600_000_000_000
"""2026-11-22, the day of that version, 00:00 UTC."""


class Clock:
    def wall_ns(self) -> int:
        return BEGIN + 48 * HOUR

    def monotonic(self) -> float:
        return 0.0


async def fill(path: Path) -> None:
    """40 settled rows, 4 released ones; then a process that is killed leaves 2 open, and the next makes them unknown;
    then 3 are left open once more.
    """
    from gateway.stores.base import AttemptRecord, Intent, Settlement
    from gateway.stores.sqlite import SQLiteLedger

    def intent(name: str, hour: int, **over: Any) -> Intent:
        key, team = (("alice", "growth"), ("bob", None))[hour % 2]
        model = ("gpt-4o-mini", "gpt-4o", "flux-schnell")[hour % 3]
        return Intent(name, BEGIN + hour * HOUR, key, team, "/v1/chat/completions", model, f"req_{name}", 5_000, **over)

    ledger = await SQLiteLedger.open(path, clock=Clock())
    if sys.argv[2] == "open":
        for number in range(int(sys.argv[3])):
            await ledger.reserve(intent(f"{sys.argv[4]}{number}", 30 + number, paid=True))
        os._exit(1)
    for number in range(44):
        name, state = f"row{number:02}", "released" if number % 11 == 10 else "settled"
        await ledger.reserve(intent(name, number))
        cost = 1_000 * (number + 1) if state == "settled" else 0
        attempts = (AttemptRecord("piapi", "api", "0a1b2c3d", "ok", 4, cost),)
        ledger.settle(
            Settlement(
                name,
                BEGIN + number * HOUR + 1,
                state,
                "piapi",
                "api",
                "0a1b2c3d",
                attempts,
                10 + number,
                number,
                20,
                0,
                cost,
                cost,
                "measured",
                200,
            )
        )
    await ledger.close()


def main() -> None:
    path = Path(sys.argv[1]) / "gateway.db"
    if len(sys.argv) > 2:
        asyncio.run(fill(path))
        return
    for arguments in (["fill"], ["open", "2", "lost"], ["open", "3", "open"]):
        subprocess.run([sys.executable, __file__, sys.argv[1], *arguments], check=False)
    with closing(sqlite3.connect(path)) as store:
        store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with gzip.GzipFile(Path(__file__).parent / "first.db.gz", "wb", mtime=0) as packed:
        packed.write(path.read_bytes())


main()
