"""python -m bench.quick: CPU a request and a chunk as multiples of a fixed loop and of nginx, within a minute.

For comparing commits on a machine that others use too: the loop, nginx and the gateway take turns on the same core, so
that what slows one slows all. Prints the commit; writes nothing.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from operator import truediv
from typing import Any

from bench import load
from bench.clients import BenchError
from bench.conditions import commit
from bench.measures import CONNECTIONS, lab
from bench.peers import present
from bench.processes import Server, allow_descriptors, load_core, server_core
from bench.report import OURS

ROUNDS = 5
REFERENCE = "loop"
REFERENCE_SECONDS = 0.25


def main() -> int:
    """Exit code: 0 measured; 1 not measured; 2 bad usage or not Linux."""
    argparse.ArgumentParser(prog="python -m bench.quick", description=__doc__).parse_args()
    if not sys.platform.startswith("linux"):
        print("bench: reads /proc and pins processes to cores: only Linux has both", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    allow_descriptors()
    os.sched_setaffinity(0, {load_core()})
    try:
        figures = _measure()
    except (BenchError, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(f"commit {commit()}, load average {os.getloadavg()[0]:.1f}")
    print("\n".join(told(figures)))
    return 0


def told(figures: Mapping[str, Mapping[str, Sequence[float]]]) -> list[str]:
    """What is printed. ``figures``: what was measured → by what → microseconds of CPU, one a round.

    The multiples are the medians of the rounds' own: a round's parts were measured within seconds of one another.
    """
    lines = []
    for what, by in figures.items():
        multiples = [
            f"{statistics.median(map(truediv, by[OURS], theirs)):.2f} × {other}"
            for other, theirs in by.items()
            if other != OURS
        ]
        bests = ", ".join(f"{name} {min(rounds):.1f}" for name, rounds in by.items())
        lines.append(f"CPU a {what}: {', '.join(multiples)} (best, µs: {bests})")
    return lines


def reference() -> int:
    """A little of what Python programs do: calls, dictionaries, lists, bytes and texts. It never changes."""
    total = 0
    for number in range(20):
        record: dict[str, Any] = {"id": number, "name": f"name-{number}", "parts": [number, number + 1]}
        record["size"] = _size(record["parts"], b"word " * 8)
        total += record["size"] if record["name"].endswith("1") else len(record)
    return total


def _size(parts: list[int], data: bytes) -> int:
    return sum(parts) + data.count(b"w") + len(data.split(b" ", 3)[-1])


def _measure() -> dict[str, dict[str, list[float]]]:
    plays: dict[str, Callable[[Server], load.Load]] = {
        "request": lambda server: load.requests(server.port, CONNECTIONS, 0.6, server.cpu_ns, wrk=False),
        "chunk": lambda server: load.paced_streams(server.port, 150, 30, 0.6, server.cpu_ns),
    }
    figures: dict[str, dict[str, list[float]]] = {what: {} for what in plays}
    with lab(present(["nginx"])) as running:
        for _ in range(ROUNDS):
            for what, play in plays.items():
                for name, server in running.servers.items():
                    with server.awake():
                        figures[what].setdefault(name, []).append(play(server).cpu_us)
                figures[what].setdefault(REFERENCE, []).append(reference_us())
            running.drop_logs()
    return figures


def reference_us() -> float:
    """Microseconds of CPU that ``reference`` takes now, on the servers' core."""
    os.sched_setaffinity(0, {server_core()})
    try:
        turns, began, until = 0, time.thread_time_ns(), time.perf_counter() + REFERENCE_SECONDS
        while time.perf_counter() < until:
            reference()
            turns += 1
        return (time.thread_time_ns() - began) / turns / 1000
    finally:
        os.sched_setaffinity(0, {load_core()})


if __name__ == "__main__":
    sys.exit(main())
