"""The load on one server: many clients at once, or streams that are only held open. One client: ``stopwatch.py``."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import uvloop

from bench import wire
from bench.clients import BenchError, BurstClient, Client, Crowd, IdleClient, StreamClient, WholeClient
from bench.processes import load_core

PATIENCE = 20.0
"""Seconds that a load may take beyond its own length before it is given up."""

STREAM_LENGTH = 30
"""Chunks of a paced stream."""

_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100

BURST = 20
"""How many idle streams may be in the making at once."""

Meter = Callable[[], int]
"""Reads a figure of the measured server: nanoseconds of CPU used, or bytes of memory held."""

Headers = Mapping[str, str] | None
"""What a server's clients must send besides."""


@dataclass(frozen=True, slots=True)
class Load:
    """What went through in a window.

    ``count``: answers, or chunks of streams. ``cpu_ns``: of the server. ``load_busy``: the part of the window in which
    the core of the load and the mock had work.
    """

    count: int
    seconds: float
    cpu_ns: int
    load_busy: float = 0.0

    @property
    def rate(self) -> float:
        """A second."""
        return self.count / self.seconds

    @property
    def cpu_us(self) -> float:
        """Microseconds of the server's CPU for each."""
        if not self.count:
            raise BenchError("nothing was answered")
        return self.cpu_ns / self.count / 1000

    @property
    def bound_by_load(self) -> bool:
        """Whether more load could have been carried: the rate is then that of the load, not of the server."""
        return self.load_busy > 0.97 and self.cpu_ns < 0.9e9 * self.seconds


class _Window:
    """From when it is made to when it is closed."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._cpu, self._idle, self._began = meter(), _idle_seconds(), time.perf_counter()

    def close(self, count: int, seconds: float | None = None) -> Load:
        """``seconds``: its length, if another has measured it."""
        took = time.perf_counter() - self._began
        cpu, idle = self._meter() - self._cpu, _idle_seconds() - self._idle
        return Load(count, seconds or took, cpu, 1 - idle / took)


def _idle_seconds() -> float:
    """How long the load's core has had nothing to do, since the machine was started."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{load_core()}":
            return (int(ticks[3]) + int(ticks[4])) / _TICKS
    raise BenchError("the kernel does not say how busy a core is")


def has_wrk(seconds: float) -> bool:
    """Whether wrk can be the load generator: it knows whole seconds only."""
    return shutil.which("wrk") is not None and seconds == int(seconds)


def requests(
    port: int,
    connections: int,
    seconds: float,
    meter: Meter,
    *,
    wrk: bool,
    headers: Headers = None,
    keys: Sequence[str] = (),
) -> Load:
    """Ask for whole answers on connections kept alive, on each again as soon as it is answered.

    ``keys``: the virtual keys in use, one a connection.
    """
    asked = wire.request(wire.NOW, stream=False, headers=headers)
    if wrk and not keys:
        return _wrk(port, connections, seconds, meter, headers or {})
    turns = [asked.replace(wire.KEY.encode(), key.encode()) for key in keys] or [asked]
    clients = [[turns[index % len(turns)]] for index in range(connections)]
    return uvloop.run(_closed_loop(WholeClient, port, clients, seconds, 0.05, meter))


def _wrk(port: int, connections: int, seconds: float, meter: Meter, headers: Mapping[str, str]) -> Load:
    sent = {"authorization": f"Bearer {wire.KEY}", "content-type": "application/json", **headers}
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f'wrk.method = "POST"\nwrk.body = [==[{wire.request_body(wire.NOW, stream=False).decode()}]==]\n')
        script.writelines(f'wrk.headers["{name}"] = "{value}"\n' for name, value in sent.items())
        script.flush()
        command = [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds:.0f}s",
            f"--timeout={PATIENCE:.0f}s",
            "-s",
            script.name,
        ]
        window, url = _Window(meter), f"http://127.0.0.1:{port}{wire.PATH}"
        try:
            ran = subprocess.run([*command, url], capture_output=True, text=True, timeout=seconds + PATIENCE)
        except subprocess.TimeoutExpired:
            raise BenchError("wrk did not come to its end") from None
    found = re.search(r"(\d+) requests in ([\d.]+)s", ran.stdout)
    if found is None or re.search(r"Non-2xx|Socket errors", ran.stdout):
        raise BenchError(f"wrk says: {' '.join((ran.stdout + ran.stderr).split())}")
    return window.close(int(found[1]), float(found[2]))


def each(port: int, asked: Sequence[bytes], connections: int, patience: float) -> None:
    """Ask each once, for whole answers."""
    uvloop.run(_each(port, asked, connections, patience))


def paced_streams(
    port: int, streams: int, interval_ms: int, seconds: float, meter: Meter, headers: Headers = None
) -> Load:
    """Hold ``streams`` streams whose chunks come ``interval_ms`` apart; where one ends, the next begins.

    The first ones differ in length, so that ends and beginnings are spread evenly over any window.
    """
    full = wire.request(wire.paced(STREAM_LENGTH, interval_ms), stream=True, headers=headers)
    clients = [[_shorter(full, 1 + index * STREAM_LENGTH // streams, interval_ms), full] for index in range(streams)]
    return uvloop.run(_closed_loop(StreamClient, port, clients, seconds, 0.3, meter))


def _shorter(request: bytes, chunks: int, interval_ms: int) -> bytes:
    """The same for fewer chunks; the body keeps its length."""
    long, short = wire.paced(STREAM_LENGTH, interval_ms), wire.paced(chunks, interval_ms)
    return request.replace(b'"%s"' % long.encode(), b'"%s"%s' % (short.encode(), b" " * (len(long) - len(short))))


def flood(port: int, streams: int, chunks: int, seconds: float, meter: Meter, headers: Headers = None) -> Load:
    """Read ``streams`` streams whose chunks come without pauses; where one ends, the next begins."""
    asked = wire.request(wire.flood(chunks), stream=True, headers=headers)
    return uvloop.run(_closed_loop(StreamClient, port, [[asked]] * streams, seconds, 0.1, meter))


def idle_streams(port: int, streams: int, memory: Meter, headers: Headers = None) -> float:
    """Open streams that stay silent after their first chunk. Returns the bytes of memory that one holds."""
    return uvloop.run(_hold_idle(port, streams, memory, wire.request(wire.IDLE, stream=True, headers=headers)))


def burst(port: int, streams: int, headers: Headers = None) -> list[float]:
    """Ask for ``streams`` streams at once, on connections that are open: seconds to each one's first text."""
    return uvloop.run(_burst(port, streams, wire.request(wire.paced(2, 20), stream=True, headers=headers)))


async def _closed_loop(
    kind: type[Client], port: int, clients: Sequence[Sequence[bytes]], seconds: float, ramp: float, meter: Meter
) -> Load:
    """``clients``: what each asks; its last request is repeated. Opens them over ``ramp`` seconds, then counts."""
    crowd = Crowd()
    loop = asyncio.get_running_loop()
    async with _bounded(seconds):
        start = loop.time()
        for index, asked in enumerate(clients):
            client = kind(crowd, itertools.chain(asked, itertools.repeat(asked[-1])))
            await _connect(client, port)
            await asyncio.sleep(max(0.0, start + ramp * index / len(clients) - loop.time()))
        await asyncio.sleep(0.1)
        count, window = crowd.count, _Window(meter)
        await asyncio.sleep(seconds)
        load = window.close(crowd.count - count)
        # Streams are read to their end: a server whose client has left has other work than what is measured.
        crowd.running = False
        await crowd.until(lambda: crowd.open == 0)
    return load


async def _each(port: int, asked: Sequence[bytes], connections: int, patience: float) -> None:
    crowd = Crowd()
    async with _bounded(patience):
        for index in range(min(connections, len(asked))):
            await _connect(WholeClient(crowd, iter(asked[index::connections])), port)
        await crowd.until(lambda: crowd.open == 0)
    if crowd.count != len(asked):
        raise BenchError("not all was answered")


async def _hold_idle(port: int, streams: int, memory: Meter, asked: bytes) -> float:
    crowd = Crowd()
    before = memory()
    clients = []
    async with _bounded(0):
        for number in range(streams):
            client = IdleClient(crowd, itertools.repeat(asked))
            clients.append(client)
            await _connect(client, port)
            # Not all at once: a burst of requests being set up would count as memory of open streams.
            await crowd.until(partial(_reached, crowd, number - BURST))
        await crowd.until(partial(_reached, crowd, streams))
        await asyncio.sleep(0.3)
        held = memory() - before
        crowd.check()
        for client in clients:
            client.close()
        await crowd.until(lambda: crowd.open == 0)
    return held / streams


async def _burst(port: int, streams: int, asked: bytes) -> list[float]:
    crowd = Crowd()
    async with _bounded(0):
        clients = [BurstClient(crowd, itertools.repeat(asked)) for _ in range(streams)]
        for client in clients:
            await _connect(client, port)
        crowd.running = False  # one stream each
        await asyncio.sleep(0.2)
        for client in clients:
            client.ask()
        await crowd.until(lambda: crowd.open == 0)
    return [client.first - client.asked for client in clients]


async def _connect(client: Client, port: int) -> None:
    await asyncio.get_running_loop().create_connection(lambda: client, "127.0.0.1", port)


def _reached(crowd: Crowd, count: int) -> bool:
    return crowd.count >= count


@asynccontextmanager
async def _bounded(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds + PATIENCE):
            yield
    except TimeoutError:
        raise BenchError("the server stopped answering") from None
    except OSError as error:
        raise BenchError(f"no connection: {error}") from None
