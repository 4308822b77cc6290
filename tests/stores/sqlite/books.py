"""A look into a SQLite store with the plain library; and the makers of rows."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from typing import Any

import gateway
from tests.stores.makers import EXPENSIVE, StoppedClock, intent, nothing_pending, released, settlement, task, until

__all__ = [
    "EXPENSIVE",
    "StoppedClock",
    "child",
    "intent",
    "nothing_pending",
    "old_store",
    "released",
    "rows",
    "settlement",
    "tamper",
    "task",
    "until",
]


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
