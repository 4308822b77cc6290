"""What is measured. Each measure takes the servers and adds one round to its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import load
from bench.report import Goal, Row
from bench.servers import Server, gateway_server, mock_server, nginx, nginx_server

CONNECTIONS = 64
IDLE_STREAMS = 2000
TURNS = 5
"""How often the servers take turns within one round of a measure of time."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How long a window is, in seconds, who makes the requests, how many streams may be held open."""

    seconds: float
    wrk: bool
    idle_streams: int


class Lab:
    """The servers side by side. Only one runs at a time, besides the mock."""

    def __init__(self, mock: Server, servers: Mapping[str, Server], folder: Path) -> None:
        self.mock = mock
        self.servers = servers
        self._folder = folder

    @contextmanager
    def fresh(self, name: str) -> Iterator[Server]:
        """A server that has served nothing yet, for as long as it is looked at."""
        with TemporaryDirectory(dir=self._folder) as folder:
            start = gateway_server if name == "gateway" else nginx_server
            with start(Path(folder), self.mock.port) as server:
                yield server

    def drop_logs(self) -> None:
        """They are written as in earnest, but nobody reads them."""
        for log in self._folder.glob("*.log"):
            with log.open("r+b") as file:
                file.truncate()


@contextmanager
def lab() -> Iterator[Lab]:
    """Start everything; whatever happens, nothing is left behind."""
    with TemporaryDirectory(prefix="piapi-gateway-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        mock = stack.enter_context(mock_server(folder))
        servers = {"gateway": stack.enter_context(gateway_server(folder, mock.port))}
        if nginx():
            servers["nginx"] = stack.enter_context(nginx_server(folder, mock.port))
        for server in servers.values():
            load.requests(server.port, CONNECTIONS, 0.3, server.cpu_ns, wrk=False)
            server.pause()
        yield Lab(mock, servers, folder)


@dataclass(frozen=True, slots=True)
class Measure:
    """``name``: what --only takes. ``run`` adds to one row for each of ``goals``."""

    name: str
    goals: tuple[Goal, ...]
    run: Callable[[Lab, Setting, list[Row]], None]
    once: bool = False
    """Whether one round is enough, because its figures hardly vary."""


def _requests(lab: Lab, setting: Setting, rows: list[Row]) -> None:
    cpu, rate = rows
    for name, server in lab.servers.items():
        with server.awake():
            went = load.requests(server.port, CONNECTIONS, setting.seconds, server.cpu_ns, wrk=setting.wrk)
        cpu.add(name, went.cpu_us)
        rate.add(name, went.rate)
    mock = lab.mock
    rate.add("direct", load.requests(mock.port, CONNECTIONS, setting.seconds, mock.cpu_ns, wrk=setting.wrk).rate)


def _added(times: Callable[[int, float], list[float]]) -> Callable[[Lab, Setting, list[Row]], None]:
    """Servers and direct take turns; a server's figure is what its median has beyond direct's."""

    def measure(lab: Lab, setting: Setting, rows: list[Row]) -> None:
        names = ("direct", *lab.servers)
        taken: dict[str, list[float]] = {name: [] for name in names}
        turn = setting.seconds / TURNS / 2
        for _ in range(TURNS):
            taken["direct"] += times(lab.mock.port, turn)
            for name, server in lab.servers.items():
                with server.awake():
                    taken[name] += times(server.port, turn)
        direct = load.median_us(taken["direct"])
        rows[0].add("direct", direct)
        for name in lab.servers:
            rows[0].add(name, load.median_us(taken[name]) - direct)

    return measure


def _chunks(streams: int, interval_ms: int) -> Callable[[Lab, Setting, list[Row]], None]:
    def measure(lab: Lab, setting: Setting, rows: list[Row]) -> None:
        for name, server in lab.servers.items():
            with server.awake():
                went = load.paced_streams(server.port, streams, interval_ms, setting.seconds, server.cpu_ns)
            rows[0].add(name, went.cpu_us, went.rate)

    return measure


def _memory(lab: Lab, setting: Setting, rows: list[Row]) -> None:
    for name in lab.servers:
        with lab.fresh(name) as server:
            load.requests(server.port, CONNECTIONS, 0.3, server.cpu_ns, wrk=False)
            rows[0].add(name, load.idle_streams(server.port, setting.idle_streams, server.memory) / 1024)


MEASURES = (
    Measure(
        "cpu",
        (
            Goal(f"CPU a request, {CONNECTIONS} connections", "µs", 120),
            Goal(f"requests/s, {CONNECTIONS} connections", "/s", 8000, more_is_better=True),
        ),
        _requests,
    ),
    Measure("latency", (Goal("added latency, 1 connection, p50", "µs", 250),), _added(load.answer_times)),
    Measure("first-token", (Goal("added time to first token, p50", "µs", 800),), _added(load.first_token_times)),
    Measure("chunk", (Goal("CPU a chunk, 150 streams × 30 ms", "µs", 45, offer=5_000),), _chunks(150, 30)),
    Measure("chunk-heavy", (Goal("CPU a chunk, 500 streams × 20 ms", "µs", 45, offer=25_000),), _chunks(500, 20)),
    Measure("memory", (Goal("memory an idle stream", "KiB", 40),), _memory, once=True),
)
