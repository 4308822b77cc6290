"""What is measured of every server. Each measure takes the servers and adds one round to its rows."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import load, stopwatch, wire
from bench.clients import BenchError
from bench.load import Load
from bench.peers import PEERS, Peer, peer_server
from bench.processes import Server
from bench.report import OURS, Goal, Row
from bench.servers import gateway_server, mock_server

CONNECTIONS = 64
IDLE_STREAMS = 2000
CROWD = 500
"""Streams that begin at once."""
TURNS = 4
"""How often the servers take turns within one round of a measure of time."""
SLOW_EVERY = 3
"""A slow peer takes part in the first of so many rounds."""
SLOW_STREAMS = 10
"""What a slow peer gets in place of a few hundred streams."""
SLOW_WINDOW = 3
"""How many times longer a slow peer is watched at work on whole answers."""
WARM_UP_SECONDS = 60.0

Times = Callable[[int, float, load.Headers], list[float]]
"""Ask at a port for so many seconds: how long each took."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How long a window is, in seconds, who makes the requests, how many streams may be held open."""

    seconds: float
    wrk: bool
    idle_streams: int


class Lab:
    """The servers side by side. Only one runs at a time, besides the mock.

    ``failed``: peers that could not be measured, and why; they take no further part. ``turn``, ``doing``: the round and
    the name of the measure, to be set by who measures.
    """

    def __init__(self, mock: Server, servers: dict[str, Server], folder: Path, failed: dict[str, str]) -> None:
        self.mock = mock
        self.servers = servers
        self.folder = folder
        self.failed = failed
        self.turn = 1
        self.doing = "start"

    def each(self, look: Callable[[str, Server], None], *, slow: bool) -> None:
        """Let ``look`` see the servers one after the other, each awake for so long; another begins in each round.

        ``slow``: whether those take part that are spared heavy loads.
        """
        taking_part = slow and self.turn % SLOW_EVERY == 1
        names = [name for name, server in self.servers.items() if not server.slow or taking_part]
        first = self.turn % len(names)
        for name in names[first:] + names[:first]:
            with self.forgiven(name), self.servers[name].awake() as server:
                look(name, server)

    @contextmanager
    def forgiven(self, name: str) -> Iterator[None]:
        """A peer that fails is dropped, and the run goes on; the gateway may not fail."""
        try:
            yield
        except BenchError as error:
            if name == OURS:
                raise
            self.failed[name] = f"{self.doing}: {error}"
            self.servers.pop(name, None)

    @contextmanager
    def fresh(self, name: str) -> Iterator[Server]:
        """A server that has served nothing yet, for as long as it is looked at."""
        with TemporaryDirectory(dir=self.folder) as folder, start(name, Path(folder), self.mock.port) as server:
            yield server

    def drop_logs(self) -> None:
        """They are written as in earnest, but nobody reads them."""
        for log in self.folder.glob("*.log"):
            with log.open("r+b") as file:
                file.truncate()


@contextmanager
def start(name: str, folder: Path, upstream_port: int) -> Iterator[Server]:
    """The gateway or a peer, warmed up."""
    peer = next((peer for peer in PEERS if peer.name == name), None)
    starting = peer_server(peer, folder, upstream_port) if peer else gateway_server(folder, upstream_port)
    with starting as server:
        asked = wire.request(wire.NOW, stream=False, headers=server.headers)
        load.each(server.port, [asked] * CONNECTIONS * (2 if server.slow else 40), CONNECTIONS, WARM_UP_SECONDS)
        yield server


@contextmanager
def lab(peers: list[Peer]) -> Iterator[Lab]:
    """Start everything; whatever happens, nothing is left behind."""
    with TemporaryDirectory(prefix="piapi-gateway-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        mock = stack.enter_context(mock_server(folder))
        running = Lab(mock, {}, folder, {})
        for one in (OURS, *(peer.name for peer in peers)):
            with running.forgiven(one):
                running.servers[one] = stack.enter_context(start(one, folder, mock.port))
                running.servers[one].pause()
        yield running


@dataclass(frozen=True, slots=True)
class Measure:
    """``name``: what --only takes. ``run`` adds to one row for each of ``goals``."""

    name: str
    goals: tuple[Goal, ...]
    run: Callable[[Lab, Setting, list[Row]], None]
    once: bool = False
    """Whether one round is enough, because its figures hardly vary or it takes long to set up."""


def _requests(lab: Lab, setting: Setting, rows: list[Row]) -> None:
    cpu, rate = rows

    def look(name: str, server: Server) -> None:
        seconds = setting.seconds * (SLOW_WINDOW if server.slow else 1)
        went = load.requests(server.port, CONNECTIONS, seconds, server.cpu_ns, wrk=setting.wrk, headers=server.headers)
        cpu.add(name, went.cpu_us)
        rate.add(name, went.rate, bound=went.bound_by_load)

    lab.each(look, slow=True)
    mock = lab.mock
    rate.add("direct", load.requests(mock.port, CONNECTIONS, setting.seconds, mock.cpu_ns, wrk=setting.wrk).rate)


def _added(times: Times, *, slow: bool, turns: int = TURNS) -> Callable[[Lab, Setting, list[Row]], None]:
    """Servers and direct take turns; a server's figure is what its median has beyond direct's."""

    def measure(lab: Lab, setting: Setting, rows: list[Row]) -> None:
        taken: dict[str, list[float]] = {"direct": []}
        turn = setting.seconds / turns / 2

        def look(name: str, server: Server) -> None:
            taken.setdefault(name, []).extend(times(server.port, turn, server.headers))

        for _ in range(turns):
            taken["direct"] += times(lab.mock.port, turn, None)
            lab.each(look, slow=slow)
        direct = stopwatch.median_us(taken.pop("direct"))
        rows[0].add("direct", direct)
        for name, mine in taken.items():
            rows[0].add(name, stopwatch.median_us(mine) - direct)

    return measure


def _chunks(
    streams: int, play: Callable[[int, Server, float], Load], *, slow: bool
) -> Callable[[Lab, Setting, list[Row]], None]:
    """``play``: the load of so many streams on a server for so many seconds."""

    def measure(lab: Lab, setting: Setting, rows: list[Row]) -> None:
        def look(name: str, server: Server) -> None:
            went = play(min(streams, SLOW_STREAMS) if server.slow else streams, server, setting.seconds)
            rows[0].add(name, went.cpu_us, went.rate, bound=went.bound_by_load)

        lab.each(look, slow=slow)

    return measure


def _paced(interval_ms: int) -> Callable[[int, Server, float], Load]:
    return lambda streams, server, seconds: load.paced_streams(
        server.port, streams, interval_ms, seconds, server.cpu_ns, server.headers
    )


def _flood(streams: int, server: Server, seconds: float) -> Load:
    return load.flood(server.port, streams, 200, seconds, server.cpu_ns, server.headers)


def _burst(lab: Lab, setting: Setting, rows: list[Row]) -> None:
    middle, slowest = rows

    def add(name: str, times: list[float]) -> None:
        cuts = statistics.quantiles(times, n=100)
        middle.add(name, cuts[49] * 1000)
        slowest.add(name, cuts[98] * 1000)

    add("direct", load.burst(lab.mock.port, CROWD))
    lab.each(lambda name, server: add(name, load.burst(server.port, CROWD, server.headers)), slow=False)


def _memory(lab: Lab, setting: Setting, rows: list[Row]) -> None:
    for name, known in list(lab.servers.items()):
        if not known.slow:
            with lab.forgiven(name), lab.fresh(name) as server:
                rows[0].add(
                    name, load.idle_streams(server.port, setting.idle_streams, server.memory, server.headers) / 1024
                )


MEASURES = (
    Measure(
        "cpu",
        (
            Goal(f"CPU a request, {CONNECTIONS} connections", "µs", 7, 5, of="envoy"),
            Goal(f"requests, {CONNECTIONS} connections", "/s", more_is_better=True),
        ),
        _requests,
    ),
    Measure(
        "latency", (Goal("added time, one client, p50", "µs", 300, 150),), _added(stopwatch.answer_times, slow=True)
    ),
    Measure(
        "first-token",
        (Goal("added time to the first token, one client, p50", "µs", 500, 300),),
        _added(stopwatch.first_token_times, slow=True),
    ),
    Measure(
        "pause",
        (Goal(f"the same after a pause of {stopwatch.PAUSE:g} s", "µs"),),
        _added(stopwatch.paused_token_times, slow=False, turns=3),
    ),
    Measure(
        "burst",
        (
            Goal(f"first token of {CROWD} streams at once, p50", "ms"),
            Goal(f"first token of {CROWD} streams at once, p99", "ms", 4, 2, of="envoy"),
        ),
        _burst,
    ),
    Measure(
        "chunk",
        (Goal("CPU a chunk, 150 streams × 30 ms", "µs", 1.5, 1, of="envoy", offer=5_000),),
        _chunks(150, _paced(30), slow=True),
    ),
    Measure(
        "chunk-heavy",
        (Goal("CPU a chunk, 500 streams × 20 ms", "µs", 1.5, 1, of="envoy", offer=25_000),),
        _chunks(500, _paced(20), slow=False),
    ),
    Measure("flood", (Goal("CPU a chunk, without pauses", "µs"),), _chunks(20, _flood, slow=True)),
    Measure("memory", (Goal("memory an idle stream", "KiB", 22, 15),), _memory, once=True),
)
