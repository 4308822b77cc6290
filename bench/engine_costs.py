"""What one request asks of PostgreSQL and Valkey: python -m bench.engine_costs [--seconds 3] [--json PATH]

A gateway with everything on (a key with rpm, tpm, parallel and a budget) in front of the bench's mock, on real engines;
proxies in between count bytes, statements and round trips, the kernel counts CPU. SQLite and memory stand beside it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import load
from bench.conditions import conditions
from bench.counting_proxy import Counts, PostgresMessages, RedisCommands, counting
from bench.processes import Server, allow_descriptors
from bench.servers import gateway_server, mock_server
from tests.engines import PostgresServer, ValkeyServer

CONNECTIONS = (1, 64)
WARM_UP = 0.5
SETTLES_WITHIN = 3.0
"""Seconds after the load in which settlements are written."""

DURABLE = {"fsync": "on", "full_page_writes": "on", "shared_buffers": "256MB"}
"""As a real server is run."""


@dataclass(frozen=True, slots=True)
class Costs:
    """For one request each. CPU in microseconds. ``wal``: bytes that PostgreSQL writes to its log; ``disk``: by which
    its database grows. ``trips``: waits for an answer.
    """

    engine: str
    connections: int
    requests: int
    rate: float
    gateway_cpu: float
    postgres_cpu: float = 0.0
    valkey_cpu: float = 0.0
    statements: float = 0.0
    trips: float = 0.0
    sent: float = 0.0
    received: float = 0.0
    wal: float = 0.0
    disk: float = 0.0
    commands: float = 0.0
    command_trips: float = 0.0
    command_sent: float = 0.0
    command_received: float = 0.0


@dataclass(frozen=True, slots=True)
class _Engines:
    postgres: PostgresServer
    valkey: ValkeyServer
    database: str
    statements: Counts
    commands: Counts


def alone(seconds: float) -> list[Costs]:
    """On SQLite and memory."""
    found = []
    with (
        TemporaryDirectory(prefix="piapi-gateway-bench-") as name,
        mock_server(Path(name)) as mock,
        gateway_server(Path(name), mock.port) as server,
    ):
        load.requests(server.port, 8, WARM_UP, server.cpu_ns, wrk=False)
        for connections in CONNECTIONS:
            went = load.requests(server.port, connections, seconds, server.cpu_ns, wrk=False)
            found.append(Costs("SQLite, memory", connections, went.count, went.rate, went.cpu_us))
    return found


def shared(seconds: float) -> list[Costs]:
    """On PostgreSQL and Valkey."""
    found = []
    with TemporaryDirectory(prefix="piapi-gateway-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        mock = stack.enter_context(mock_server(folder))
        engines, server = stack.enter_context(_gateway(folder, mock.port))
        load.requests(server.port, 8, WARM_UP, server.cpu_ns, wrk=False)
        for connections in CONNECTIONS:
            time.sleep(SETTLES_WITHIN)
            found.append(_measured(engines, server, connections, seconds))
    return found


@contextmanager
def _gateway(folder: Path, upstream: int) -> Iterator[tuple[_Engines, Server]]:
    postgres, valkey = PostgresServer(**DURABLE), ValkeyServer()
    try:
        store = postgres.new_database()
        database = store.rpartition("/")[2]
        with (
            counting(postgres.port, PostgresMessages) as (store_port, statements),
            counting(valkey.port, RedisCommands) as (shared_port, commands),
        ):
            over = {
                "store": store.replace(f":{postgres.port}/", f":{store_port}/"),
                "shared_state": f"redis://127.0.0.1:{shared_port}/0",
            }
            with gateway_server(folder, upstream, over=over) as server:
                yield _Engines(postgres, valkey, database, statements, commands), server
                server.stop()
    finally:
        valkey.close()
        postgres.close()


def _measured(engines: _Engines, server: Server, connections: int, seconds: float) -> Costs:
    """The load, and then as long as its settlements take; what beats without load is taken off."""
    idle = _idle(engines, seconds)
    before = _all(engines)
    went = load.requests(server.port, connections, seconds, server.cpu_ns, wrk=False)
    time.sleep(SETTLES_WITHIN)
    took = (seconds + SETTLES_WITHIN) / seconds
    figures = [
        (after - earlier - took * beat) / went.count
        for after, earlier, beat in zip(_all(engines), before, idle, strict=True)
    ]
    return Costs("PostgreSQL, Valkey", connections, went.count, went.rate, went.cpu_us, *figures)


def _idle(engines: _Engines, seconds: float) -> list[float]:
    before = _all(engines)
    time.sleep(seconds)
    return [after - earlier for after, earlier in zip(_all(engines), before, strict=True)]


def _all(engines: _Engines) -> list[float]:
    """Every figure so far, in the order of ``Costs``."""
    statements, commands = engines.statements, engines.commands
    wal = engines.postgres.execute("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint", engines.database)
    size = engines.postgres.execute("SELECT pg_database_size(current_database())", engines.database)
    return [
        _cpu_us(engines.postgres.child.process.pid),
        _cpu_us(engines.valkey.child.process.pid),
        statements.statements,
        statements.trips,
        statements.sent,
        statements.received,
        float(wal),
        float(size),
        commands.statements,
        commands.trips,
        commands.sent,
        commands.received,
    ]


def _cpu_us(pid: int) -> float:
    """Of a process and of what it has started, what has ended among it."""
    total = 0.0
    for path in (Path(f"/proc/{pid}"), *_children(pid)):
        try:
            fields = (path / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(map(int, fields[11:13]))  # user and system time in hundredths
    own = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (total + sum(map(int, own[13:15]))) * 10_000  # and that of children that have ended


def _children(pid: int) -> list[Path]:
    return [
        Path(f"/proc/{child}")
        for task in Path(f"/proc/{pid}/task").glob("*/children")
        for child in task.read_text().split()
    ]


def table(costs: Sequence[Costs]) -> str:
    """Markdown."""
    rows = ["| a request asks | " + " | ".join(f"{one.engine}, {one.connections} at once" for one in costs) + " |"]
    rows.append("|---|" + "---|" * len(costs))
    for title, name, digits in ROWS:
        cells = (f"{getattr(one, name):,.{digits}f}" for one in costs)
        rows.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


ROWS = (
    ("CPU of the gateway, µs", "gateway_cpu", 0),
    ("statements of PostgreSQL", "statements", 2),
    ("round trips to PostgreSQL", "trips", 2),
    ("bytes to PostgreSQL", "sent", 0),
    ("bytes from PostgreSQL", "received", 0),
    ("bytes of its write-ahead log", "wal", 0),
    ("bytes of its tables and indexes", "disk", 0),
    ("CPU of PostgreSQL, µs", "postgres_cpu", 0),
    ("commands of Valkey", "commands", 2),
    ("round trips to Valkey", "command_trips", 2),
    ("bytes to Valkey", "command_sent", 0),
    ("bytes from Valkey", "command_received", 0),
    ("CPU of Valkey, µs", "valkey_cpu", 0),
    ("requests a second", "rate", 0),
)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.engine_costs", description="What a request asks of the engines.")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each load (default 3)")
    parser.add_argument("--json", type=Path, help="keep the figures in this file")
    options = parser.parse_args(arguments)
    allow_descriptors()
    found = [*alone(options.seconds), *shared(options.seconds)]
    told = conditions()
    print(table(found))
    for name, value in told.items():
        print(f"{name}: {value}")
    if options.json is not None:
        text = json.dumps({"conditions": told, "costs": [asdict(one) for one in found]}, indent=1, ensure_ascii=False)
        options.json.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
