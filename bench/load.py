"""The load on one server: many clients at once, one client with a stopwatch, or streams that are only held open."""

from __future__ import annotations

import asyncio
import itertools
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import uvloop

from bench import wire
from bench.clients import BenchError, Client, Crowd, IdleClient, StreamClient, WholeClient

PATIENCE = 20.0
"""Seconds that a load may take beyond its own length before it is given up."""

STREAM_LENGTH = 30
"""Chunks of a paced stream."""

BURST = 20
"""How many idle streams may be in the making at once."""

Meter = Callable[[], int]
"""Reads a figure of the measured server: nanoseconds of CPU used, or bytes of memory held."""


@dataclass(frozen=True, slots=True)
class Load:
    """What went through in a window. ``count``: answers, or chunks of streams."""

    count: int
    seconds: float
    cpu_ns: int

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


def has_wrk(seconds: float) -> bool:
    """Whether wrk can be the load generator: it knows whole seconds only."""
    return shutil.which("wrk") is not None and seconds == int(seconds)


def requests(port: int, connections: int, seconds: float, meter: Meter, *, wrk: bool) -> Load:
    """Ask for whole answers on connections kept alive, on each again as soon as it is answered."""
    asked = wire.request(wire.NOW, stream=False)
    if not wrk:
        return uvloop.run(_closed_loop(WholeClient, port, [[asked]] * connections, seconds, 0.05, meter))
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(
            f'wrk.method = "POST"\nwrk.body = [==[{wire.request_body(wire.NOW, stream=False).decode()}]==]\n'
            f'wrk.headers["authorization"] = "Bearer {wire.KEY}"\nwrk.headers["content-type"] = "application/json"\n'
        )
        script.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "-s", script.name]
        cpu, url = meter(), f"http://127.0.0.1:{port}{wire.PATH}"
        try:
            ran = subprocess.run([*command, url], capture_output=True, text=True, timeout=seconds + PATIENCE)
        except subprocess.TimeoutExpired:
            raise BenchError("wrk did not come to its end") from None
        cpu = meter() - cpu
    found = re.search(r"(\d+) requests in ([\d.]+)s", ran.stdout)
    if found is None or re.search(r"Non-2xx|Socket errors", ran.stdout):
        raise BenchError(f"wrk says: {' '.join((ran.stdout + ran.stderr).split())}")
    return Load(int(found[1]), float(found[2]), cpu)


def paced_streams(port: int, streams: int, interval_ms: int, seconds: float, meter: Meter) -> Load:
    """Hold ``streams`` streams whose chunks come ``interval_ms`` apart; where one ends, the next begins.

    The first ones differ in length, so that ends and beginnings are spread evenly over any window.
    """
    full = wire.request(wire.paced(STREAM_LENGTH, interval_ms), stream=True)
    clients = [
        [wire.request(wire.paced(1 + index * STREAM_LENGTH // streams, interval_ms), stream=True), full]
        for index in range(streams)
    ]
    return uvloop.run(_closed_loop(StreamClient, port, clients, seconds, 0.3, meter))


def idle_streams(port: int, streams: int, memory: Meter) -> float:
    """Open streams that stay silent after their first chunk. Returns the bytes of memory that one holds."""
    return uvloop.run(_hold_idle(port, streams, memory))


def answer_times(port: int, seconds: float) -> list[float]:
    """One client, one request at a time: how long each whole answer took, in seconds."""
    return _times(port, wire.request(wire.NOW, stream=False), seconds, _read_whole)


def first_token_times(port: int, seconds: float) -> list[float]:
    """One client, one stream at a time: how long each first event took to come, in seconds."""
    return _times(port, wire.request(wire.paced(2, 2), stream=True), seconds, _read_stream)


def median_us(times: Sequence[float]) -> float:
    """The median of times in seconds, in microseconds."""
    return statistics.median(times) * 1e6


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
        count, cpu, began = crowd.count, meter(), time.perf_counter()
        await asyncio.sleep(seconds)
        load = Load(crowd.count - count, time.perf_counter() - began, meter() - cpu)
        # Streams are read to their end: a server whose client has left has other work than what is measured.
        crowd.running = False
        await crowd.until(lambda: crowd.open == 0)
    return load


async def _hold_idle(port: int, streams: int, memory: Meter) -> float:
    crowd = Crowd()
    asked = wire.request(wire.IDLE, stream=True)
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


def _times(port: int, request: bytes, seconds: float, read: Callable[[socket.socket], float]) -> list[float]:
    """Blocking sockets: less of the client's own time in the figures than any event loop leaves."""
    times: list[float] = []
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            until = time.perf_counter() + seconds
            while not times or time.perf_counter() < until:
                began = time.perf_counter()
                connection.sendall(request)
                times.append(read(connection) - began)
    except OSError as error:
        raise BenchError(f"no answer: {error or type(error).__name__}") from None
    return times


def _read_whole(connection: socket.socket) -> float:
    """Read one answer; when it was there."""
    data = _more(connection, b"")
    while (end := data.find(b"\r\n\r\n")) < 0:
        data = _more(connection, data)
    length = wire.LENGTH.search(data, 0, end)
    if length is None:
        raise BenchError("an answer without content-length")
    while len(data) < end + 4 + int(length[1]):
        data = _more(connection, data)
    return time.perf_counter()


def _read_stream(connection: socket.socket) -> float:
    """Read one stream to its end; when its first event was there."""
    data = _more(connection, b"")
    while b"data: {" not in data:
        data = _more(connection, data)
    first = time.perf_counter()
    while not data.endswith(wire.LAST_CHUNK):
        data = _more(connection, data)
    return first


def _more(connection: socket.socket, data: bytes) -> bytes:
    received = connection.recv(65536)
    if not received:
        raise BenchError("the server closed a connection")
    data += received
    if not data.startswith(b"HTTP/1.1 200"[: len(data)]):
        raise BenchError(f"the server answered {data[:400].decode(errors='replace')}")
    return data
