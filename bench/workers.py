"""What several workers give on the cores there are: answers a second, and which process took how much CPU for each.

    .venv/bin/python -m bench.workers [--workers 1 2] [--seconds 5] [--rounds 3]

Everything runs on this machine: the load, the mock upstream, PostgreSQL, Valkey, the workers. On two cores they are in
each other's way, so the second figure says what the workers would give if the rest had cores of its own: the answers
over the CPU seconds that the busiest worker used. Rounds are interleaved; the best of each is told, as the others
met more of the machine's other work.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench import servers, wire
from bench.clients import WholeClient
from bench.load import _closed_loop
from bench.processes import Server, _cpu_clock, _family, first_line, free_port, process
from bench.servers import gateway_python, mock_server
from tests.engines import PostgresServer, ValkeyServer

CONNECTIONS = 64
"""For each worker: what comes at once is worked off at once, which costs less an answer."""

_EVERYWHERE = "import os, sys; os.sched_setaffinity(0, {cores}); os.execv(sys.argv[1], sys.argv[1:])"


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one window. CPU in seconds, by what used it; ``each``: by worker."""

    answers: int
    seconds: float
    each: tuple[float, ...]
    others: dict[str, float]

    @property
    def rate(self) -> float:
        return self.answers / self.seconds

    @property
    def on_own_cores(self) -> float:
        """Answers a second, were the busiest worker's core its own."""
        return self.answers / max(self.each)

    def us(self, seconds: float) -> float:
        """Microseconds an answer."""
        return seconds / self.answers * 1e6


@contextmanager
def gateway(
    folder: Path, upstream: int, workers: int, postgres: PostgresServer, valkey: ValkeyServer
) -> Iterator[Server]:
    """``workers`` on engines of their own; one is the only process, without a supervisor."""
    folder.mkdir()
    config = servers._config(folder, upstream, admin := free_port(), 1, None)
    config |= {"store": postgres.new_database(), "shared_state": valkey.url, "workers": workers}
    path = folder / "config.yaml"
    path.write_text(json.dumps(config))
    widen = _EVERYWHERE.format(cores=os.sched_getaffinity(0))
    command = [sys.executable, "-c", widen, gateway_python(), "-m", "gateway", "serve", "--config", str(path)]
    with process(command, folder, "gateway", min(os.sched_getaffinity(0))) as running:
        words = first_line(running, folder / "gateway.log", 120).split()
        url = next(word for word in words if word.startswith("http://"))
        yield Server(running, int(url.rpartition(":")[2]), admin_port=admin)


def cpu(pid: int) -> float:
    """Seconds that a process and what it started have used."""
    return sum(time.clock_gettime_ns(_cpu_clock(one)) for one in _family(pid)) / 1e9


def measure(serving: Server, workers: int, seconds: float, others: dict[str, int]) -> Figures:
    """``others``: name → process."""
    main = serving._process.pid
    found = [main] if workers == 1 else _family(main)[1 : workers + 1]
    others = others if workers == 1 else {**others, "supervisor": main}

    def used() -> dict[str | int, float]:
        taken: dict[str | int, float] = {pid: cpu(pid) for pid in found}
        taken |= {name: cpu(pid) for name, pid in others.items() if pid}
        taken["load"] = time.process_time()
        if workers > 1:
            taken["supervisor"] -= sum(taken[pid] for pid in found)
        return taken

    before: dict[str | int, float] = {}

    def meter() -> int:
        nonlocal before
        now = used()
        changed = {name: now[name] - before.get(name, 0.0) for name in now}
        before = now
        spent.append(changed)
        return 0

    spent: list[dict[str | int, float]] = []
    asked = wire.request(wire.NOW, stream=False)
    load = uvloop.run(_closed_loop(WholeClient, serving.port, [[asked]] * (CONNECTIONS * workers), seconds, 0.2, meter))
    last = spent[-1]
    return Figures(load.count, load.seconds, tuple(last[pid] for pid in found), {name: last[name] for name in others})


def shown(workers: int, best: Figures, one: Figures | None) -> str:
    """A line of what was measured."""
    text = f"{workers} worker{'s' if workers > 1 else ''}: {best.rate:7.0f} answers/s"
    text += f"; on cores of their own {best.on_own_cores:7.0f}"
    if one is not None:
        text += f" = {best.on_own_cores / one.on_own_cores:.2f} × one"
    each = " + ".join(f"{best.us(used):.0f}" for used in best.each)
    rest = ", ".join(f"{name} {best.us(used):.0f}" for name, used in best.others.items())
    return f"{text}\n    µs of CPU an answer: workers {each}, {rest}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    postgres, valkey = PostgresServer(), ValkeyServer()
    found: dict[int, list[Figures]] = {}
    try:
        with tempfile.TemporaryDirectory() as name, ExitStack() as undo:
            folder = Path(name)
            mock = undo.enter_context(mock_server(folder))
            others = {
                "mock": mock._process.pid,
                "PostgreSQL": postgres.child.process.pid,
                "Valkey": valkey.child.process.pid,
                "load": 0,
            }
            for turn in range(options.rounds):
                for workers in options.workers:
                    with gateway(folder / f"{workers}-{turn}", mock.port, workers, postgres, valkey) as serving:
                        measure(serving, workers, 1.0, others)  # what is only done once is done
                        found.setdefault(workers, []).append(measure(serving, workers, options.seconds, others))
                        serving.stop()
    finally:
        postgres.close()
        valkey.close()
    one = max(found.get(1, ()), key=lambda figures: figures.rate, default=None)
    for workers, rounds in found.items():
        print(shown(workers, max(rounds, key=lambda figures: figures.rate), one if workers > 1 else None))
    return 0


if __name__ == "__main__":
    sys.exit(main())
