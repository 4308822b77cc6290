"""One client with a stopwatch: how long one request at a time takes, and how long others wait while something is done.

Blocking sockets leave less of the client's own time in the figures than any event loop does.
"""

from __future__ import annotations

import multiprocessing
import socket
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from bench import wire
from bench.clients import BenchError
from bench.load import PATIENCE, Headers

PAUSE = 0.2
"""Seconds without a request before a stream, where it is asked what a pause costs."""


def answer_times(port: int, seconds: float, headers: Headers = None) -> list[float]:
    """One request at a time: how long each whole answer took, in seconds."""
    return _times(port, wire.request(wire.NOW, stream=False, headers=headers), seconds, _read_whole)


def first_token_times(port: int, seconds: float, headers: Headers = None) -> list[float]:
    """One stream at a time: how long each first event took to come, in seconds."""
    return _times(port, wire.request(wire.paced(2, 2), stream=True, headers=headers), seconds, _read_stream)


def paused_token_times(port: int, seconds: float, headers: Headers = None) -> list[float]:
    """The same with PAUSE before each stream, in which the server has nothing to do."""
    return _times(port, wire.request(wire.paced(2, 2), stream=True, headers=headers), seconds, _read_stream, PAUSE)


def median_us(times: Sequence[float]) -> float:
    """The median of times in seconds, in microseconds."""
    return statistics.median(times) * 1e6


def ask(port: int, request: bytes, patience: float = PATIENCE) -> bytes:
    """One request on a connection of its own. Returns the whole answer. Raises BenchError if it is no success."""
    with _connected(port, patience) as connection:
        connection.sendall(request)
        answer = bytearray()
        while not wire.complete(answer):
            _more(connection, answer)
        return bytes(answer)


def longest_wait(port: int, act: Callable[[], object] | None, seconds: float = 0.3) -> float:
    """Ping a server while ``act`` runs in another process; the longest that an answer took, in seconds.

    Without ``act`` the pings go on for ``seconds``: what a quiet server shows on this machine.
    """
    acting = multiprocessing.get_context("fork").Process(target=act or time.sleep, args=() if act else (seconds,))
    ping, waits = wire.get("/healthz"), []
    with _connected(port, PATIENCE) as connection:
        acting.start()
        while acting.is_alive():
            began = time.perf_counter()
            connection.sendall(ping)
            waits.append(_read_whole(connection) - began)
            time.sleep(0.001)
        acting.join()
    if acting.exitcode != 0:
        raise BenchError("what was to be done while pinging failed")
    return max(waits)


def _times(
    port: int, request: bytes, seconds: float, read: Callable[[socket.socket], float], pause: float = 0.0
) -> list[float]:
    times: list[float] = []
    with _connected(port, PATIENCE) as connection:
        until = time.perf_counter() + seconds
        while not times or time.perf_counter() < until:
            if pause:
                time.sleep(pause)
            began = time.perf_counter()
            connection.sendall(request)
            times.append(read(connection) - began)
    return times


@contextmanager
def _connected(port: int, patience: float) -> Iterator[socket.socket]:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=patience) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield connection
    except OSError as error:
        raise BenchError(f"no answer: {error or type(error).__name__}") from None


def _read_whole(connection: socket.socket) -> float:
    """Read one answer; when it was there."""
    data = bytearray()
    while not wire.complete(data):
        _more(connection, data)
    return time.perf_counter()


def _read_stream(connection: socket.socket) -> float:
    """Read one stream to its end; when its first event was there."""
    data = bytearray()
    while b"data: {" not in data:
        _more(connection, data)
    first = time.perf_counter()
    while not data.endswith(wire.LAST_CHUNK):
        _more(connection, data)
    return first


def _more(connection: socket.socket, data: bytearray) -> None:
    received = connection.recv(1 << 20)
    if not received:
        raise BenchError("the server closed a connection")
    data += received
    if not data.startswith((b"HTTP/1.1 200"[: len(data)], b"HTTP/1.1 201"[: len(data)])):
        raise BenchError(f"the server answered {data[:400].decode(errors='replace')}")
