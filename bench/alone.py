"""What is measured of the gateway alone: how flat its cost stays, what makes others wait, what TLS and bodies add."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
import trustme

from bench import load, stopwatch, wire
from bench.clients import BenchError
from bench.measures import CONNECTIONS, Lab, Measure, Setting
from bench.processes import Server
from bench.report import ALONE, OURS, Goal, Row
from bench.servers import gateway_server, mock_server, nth_key

KEYS = (1, 1_000, 10_000)
LEDGER_ROWS = (0, 1_000_000)
BODIES = (("1 KB", 1_000, 1_500), ("30 KB", 30_000, 500), ("1 MB", 1_000_000, 40), ("20 MB", 20_000_000, 4))
"""Title, bytes, how many are sent."""
REPEATS = 3
"""How often a figure is taken where a whole round would take too long to set up again."""
SETUP_SECONDS = 120.0


def _keys(lab: Lab, setting: Setting, rows: list[Row]) -> None:
    """Every key is used once, so that each has its series; then CPU, and what scraping and making a key hold up."""
    for index, count in enumerate(KEYS):
        cpu, scrape, making = rows[index :: len(KEYS)]
        with (
            TemporaryDirectory(dir=lab.folder) as folder,
            gateway_server(Path(folder), lab.mock.port, keys=count) as server,
        ):
            asked = wire.request(wire.NOW, stream=False)
            used = [asked.replace(wire.KEY.encode(), nth_key(number).encode()) for number in range(count)]
            load.each(server.port, used, CONNECTIONS, SETUP_SECONDS)
            some = [nth_key(number * count // CONNECTIONS) for number in range(CONNECTIONS)]
            for turn in range(REPEATS):
                went = load.requests(
                    server.port, CONNECTIONS, setting.seconds, server.cpu_ns, wrk=False, keys=some if count > 1 else ()
                )
                cpu.add(OURS, went.cpu_us)
                _stall(scrape, server, partial(stopwatch.ask, server.admin_port, wire.get("/metrics")))
                made = wire.post("/admin/v1/keys", json.dumps({"name": f"made-{turn}"}).encode(), {})
                _stall(making, server, partial(stopwatch.ask, server.admin_port, made))


def _rows(lab: Lab, setting: Setting, rows: list[Row]) -> None:
    for row, count in zip(rows, LEDGER_ROWS, strict=True):
        with TemporaryDirectory(dir=lab.folder) as name:
            folder = Path(name)
            if count:
                with gateway_server(folder, lab.mock.port) as server:
                    load.requests(server.port, 1, 0.1, server.cpu_ns, wrk=False)
                    server.stop()
                _fill(folder / "gateway.db", count)
            with gateway_server(folder, lab.mock.port) as server:
                load.requests(server.port, CONNECTIONS, 0.3, server.cpu_ns, wrk=False)
                for _ in range(REPEATS):
                    row.add(OURS, _cpu_us(server, setting))


def _picture(lab: Lab, setting: Setting, rows: list[Row]) -> None:
    asked = wire.post(
        wire.PICTURE_PATH,
        b'{"model":"%s","prompt":"a lighthouse","response_format":"b64_json"}' % wire.PICTURE.encode(),
        {},
    )
    with lab.fresh(OURS) as server:
        for _ in range(REPEATS):
            _stall(rows[0], server, partial(stopwatch.ask, server.port, asked))


def _tls(lab: Lab, setting: Setting, rows: list[Row]) -> None:
    """The same gateway but for TLS, and the one without it in turn."""
    authority = trustme.CA()
    with TemporaryDirectory(dir=lab.folder) as name:
        folder = Path(name)
        certificate, trusted = folder / "mock.pem", folder / "authority.pem"
        authority.cert_pem.write_to_path(str(trusted))
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(certificate))
        with (
            mock_server(folder, certificate=certificate) as mock,
            gateway_server(folder, mock.port, authority=trusted) as server,
        ):
            load.requests(server.port, CONNECTIONS, 0.5, server.cpu_ns, wrk=False)
            server.pause()
            for _ in range(REPEATS):
                with lab.servers[OURS].awake() as plain:
                    rows[0].add(OURS, _cpu_us(plain, setting))
                with server.awake():
                    rows[1].add(OURS, _cpu_us(server, setting))


def _bodies(lab: Lab, setting: Setting, rows: list[Row]) -> None:
    for row, (_, size, count) in zip(rows, BODIES, strict=True):
        asked = wire.request(wire.NOW, stream=False, size=size)
        row.add("orjson", _orjson_us(asked.partition(b"\r\n\r\n")[2]))
        for name in (OURS, "nginx"):
            if name in lab.servers:
                with lab.servers[name].awake() as server:
                    before = server.cpu_ns()
                    load.each(server.port, [asked] * count, 4, SETUP_SECONDS)
                    row.add(name, (server.cpu_ns() - before) / count / 1000)


def _cpu_us(server: Server, setting: Setting) -> float:
    return load.requests(server.port, CONNECTIONS, setting.seconds, server.cpu_ns, wrk=False).cpu_us


def _stall(row: Row, server: Server, act: Callable[[], object]) -> None:
    """Add how long a ping waits at most while something is done, and while nothing is."""
    row.add(OURS, stopwatch.longest_wait(server.port, act) * 1000)
    row.add("quiet", stopwatch.longest_wait(server.port, None) * 1000)


def _orjson_us(body: bytes) -> float:
    """Microseconds of CPU for reading and writing a body: what no gateway that looks into it can do without."""
    taken: list[int] = []
    until = time.perf_counter() + 0.2
    while not taken or time.perf_counter() < until:
        began = time.thread_time_ns()
        orjson.dumps(orjson.loads(body))
        taken.append(time.thread_time_ns() - began)
    return min(taken) / 1000


def _fill(store: Path, rows: int) -> None:
    """Copy the books of one exchange until there are ``rows`` of them, half intents and half settlements."""
    books = sqlite3.connect(store)
    try:
        books.execute("PRAGMA synchronous = OFF")
        books.execute("PRAGMA cache_size = -200000")
        for table in ("intents", "settlements"):
            columns = [name for _, name, *_ in books.execute(f"PRAGMA table_info({table})")]
            others = ", ".join(name for name in columns if name != "id")
            books.execute(
                f"WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {rows // 2})"
                f" INSERT INTO {table} (id, {others}) SELECT printf('%032x', n), {others}"
                f" FROM (SELECT * FROM {table} LIMIT 1), number"
            )
        books.commit()
    except sqlite3.Error as error:
        raise BenchError(f"the ledger could not be filled: {error}") from None
    finally:
        books.close()


def _alone(title: str, unit: str, must: float | None = None, goal: float | None = None) -> Goal:
    return Goal(title, unit, must, goal, table=ALONE)


MEASURES = (
    Measure(
        "body",
        tuple(_alone(f"CPU a request with a body of {title}, 4 connections", "µs") for title, *_ in BODIES),
        _bodies,
    ),
    Measure(
        "keys",
        (
            *(_alone(f"CPU a request, {count:,} {'keys' if count > 1 else 'key'}", "µs") for count in KEYS),
            *(_alone(f"longest wait while /metrics is read, {count:,} in use", "ms", 20, 10) for count in KEYS),
            *(_alone(f"longest wait while a key is made, {count:,} there", "ms", 20, 10) for count in KEYS),
        ),
        _keys,
        once=True,
    ),
    Measure(
        "rows",
        tuple(_alone(f"CPU a request, {count:,} rows in the ledger", "µs") for count in LEDGER_ROWS),
        _rows,
        once=True,
    ),
    Measure(
        "picture",
        (_alone(f"longest wait while a picture of {wire.PICTURE_SIZE // 1_000_000} MB comes", "ms", 20, 10),),
        _picture,
        once=True,
    ),
    Measure(
        "tls",
        (_alone("CPU a request, plain upstream", "µs"), _alone("CPU a request, TLS to the upstream", "µs")),
        _tls,
        once=True,
    ),
)
