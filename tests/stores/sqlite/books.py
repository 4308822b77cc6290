"""Makers of rows, and a look into the file with the plain library."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import gateway
from gateway.stores.base import Ledger
from gateway.stores.records import AttemptRecord, Intent, Settlement, TaskRecord

EXPENSIVE = AttemptRecord("piapi", "https://api.piapi.ai", "first", "ok", 4, cost=30)


class StoppedClock:
    """Time stands still, at a moment of 2023."""

    def monotonic(self) -> float:
        return 0.0

    def wall_ns(self) -> int:
        return 1_700_000_000_000_000_000


def intent(identity: str, **changes: Any) -> Intent:
    plain = Intent(identity, StoppedClock().wall_ns(), "alice", "growth", "chat", "gpt-4o", f"req-{identity}", 100)
    return replace(plain, **changes)


def settlement(identity: str, **changes: Any) -> Settlement:
    plain = Settlement(
        id=identity,
        at_ns=StoppedClock().wall_ns() + 1,
        state="settled",
        upstream="piapi",
        endpoint="https://api.piapi.ai",
        credential="first",
        attempts=(EXPENSIVE,),
        input_tokens=10,
        cached_input_tokens=4,
        output_tokens=5,
        images=0,
        charged=40,
        upstream_cost=30,
        confidence="measured",
        status=200,
    )
    return replace(plain, **changes)


def task(task_id: str, exchange: str, **changes: Any) -> TaskRecord:
    plain = TaskRecord(task_id, "piapi", "first", exchange, "alice", "flux-dev", StoppedClock().wall_ns())
    return replace(plain, **changes)


def released(identity: str) -> Settlement:
    return settlement(
        identity, state="released", attempts=(), input_tokens=0, cached_input_tokens=0, output_tokens=0,
        charged=0, upstream_cost=0, status=499,
    )  # fmt: skip


async def until(true: Callable[[], bool]) -> None:
    """Wait for what another thread brings about."""
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.005)


async def nothing_pending(ledger: Ledger) -> None:
    await until(lambda: ledger.pending == 0)


def rows(path: Path, query: str) -> list[Any]:
    """What a query finds; single columns come bare."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        return [row[0] if len(row) == 1 else row for row in connection.execute(query)]


def tamper(path: Path, *statements: str) -> None:
    """Change a store that nobody has open as only a file's owner can: rules off, guards lifted and put back."""
    with closing(sqlite3.connect(path)) as connection:
        guards = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for name, _ in guards:
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
        for _, sql in guards:
            connection.execute(sql)
        connection.commit()


def old_store(path: Path, version: int) -> sqlite3.Connection:
    """A store as the version before some migrations left it; nothing in it is written by today's code."""
    scripts = sorted(entry.name for entry in (files("gateway.stores.sqlite") / "migrations").iterdir())
    store = sqlite3.connect(path, isolation_level=None)
    store.execute("PRAGMA journal_mode = WAL")
    for number, name in enumerate(scripts[:version], start=1):
        script = (files("gateway.stores.sqlite") / "migrations" / name).read_text("utf-8")
        store.executescript(f"BEGIN; {script}; INSERT INTO schema_version VALUES ({number}, 5); COMMIT;")
    return store


def child(script: str, *arguments: str) -> subprocess.Popen[str]:
    """Another Python process that can import the gateway."""
    return subprocess.Popen(
        [sys.executable, "-u", "-c", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join((str(Path(gateway.__file__).parents[1]), str(Path(__file__).parents[3])))},
    )
