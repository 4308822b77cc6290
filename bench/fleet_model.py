"""A queueing model of a fleet: gateways of one core each, PostgreSQL with group commit, Valkey. Pure and seeded.

What happens to a request: it arrives at the gateway with the fewest in flight, is admitted by its core, counted by
Valkey, and waits until PostgreSQL has its intent (each gateway has one batch of intents on its way at a time, and what
comes meanwhile makes the next). Then the upstream is asked; the chunks of its stream take the core for a moment each.
At the end the core is used once more, and the settlement goes to PostgreSQL in a batch of its own.

Every station is first come, first served. Arrivals are a Poisson process.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

LUMP = 5
"""Chunks of a stream that the model lets arrive together."""

SETTLED_EVERY = 0.025
"""Seconds for which a gateway collects settlements (``GATHER_SECONDS`` of the store)."""


@dataclass(frozen=True, slots=True)
class Service:
    """Service times in seconds; ``bench.fleet`` has those that were measured.

    ``request_cpu``: of a gateway's core for one request without chunks, half of it before the upstream is asked.
    ``batch_cpu``, ``row_cpu``: of PostgreSQL for a transaction, and for each row of one. ``round_trip``: of the
    network, to either engine. ``valkey_cpu``: for one request. ``postgres_cores``: how many serve at once.
    """

    request_cpu: float
    chunk_cpu: float
    batch_cpu: float
    row_cpu: float
    valkey_cpu: float
    round_trip: float = 0.0003
    postgres_cores: int = 4
    statements_a_batch: float = 3.0
    most_rows: int = 500


@dataclass(frozen=True, slots=True)
class Mix:
    """What is asked. ``streams``: the share that is streamed, ``chunks`` each, so many ``per_second``.

    ``whole``: seconds that an upstream takes for one of the others. ``hot``: the share of requests of one key with a
    budget, whose row each of their batches locks.
    """

    streams: float = 0.5
    chunks: int = 150
    per_second: float = 30.0
    whole: float = 3.0
    hot: float = 0.0

    @property
    def chunks_a_request(self) -> float:
        return self.streams * self.chunks

    @property
    def seconds_upstream(self) -> float:
        """The mean."""
        return self.streams * self.chunks / self.per_second + (1 - self.streams) * self.whole


@dataclass(frozen=True, slots=True)
class Seen:
    """What a simulation saw. Seconds; shares of what there is; rates a second.

    ``added_*``: from a request's arrival until its upstream is asked. ``batch``: rows of a batch of intents.
    """

    requests: int
    rate: float
    added_mean: float
    added_p50: float
    added_p99: float
    gateway_busy: float
    postgres_busy: float
    valkey_busy: float
    in_flight: float
    batch: float
    statements: float


def cores_needed(rate: float, mix: Mix, service: Service) -> float:
    """The cores that gateways need for ``rate`` requests a second, busy without a pause."""
    return rate * (service.request_cpu + mix.chunks_a_request * service.chunk_cpu)


def gateways_needed(rate: float, mix: Mix, service: Service, busy: float = 0.6, fewest: int = 3) -> int:
    """Gateways of one core each, none busier than ``busy``; ``fewest`` so that one may be gone."""
    return max(fewest, math.ceil(cores_needed(rate, mix, service) / busy))


class _Station:
    """Servers with one queue."""

    def __init__(self, servers: int) -> None:
        self._free = [0.0] * servers
        self.busy = 0.0

    def serve(self, now: float, seconds: float) -> float:
        """When work that comes now has been done. Calls must come in the order of time."""
        start = max(now, heapq.heappop(self._free))
        heapq.heappush(self._free, start + seconds)
        self.busy += seconds
        return start + seconds


@dataclass(slots=True)
class _Gateway:
    core: _Station = field(default_factory=lambda: _Station(1))
    in_flight: int = 0
    writing: bool = False
    intents: list[tuple[float, bool]] = field(default_factory=list)
    settlements: int = 0
    settling: bool = False


class _Fleet:
    def __init__(self, rate: float, gateways: int, mix: Mix, service: Service, seed: int) -> None:
        self._rate, self._mix, self._service = rate, mix, service
        self._random = random.Random(seed)
        self._gateways = [_Gateway() for _ in range(gateways)]
        self._postgres, self._valkey = _Station(service.postgres_cores), _Station(1)
        self._hot_row = 0.0
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._number = 0
        self.added: list[float] = []
        self.batches: list[int] = []
        self.settled_batches = 0
        self.in_flight_seconds = 0.0
        self._warm = 0.0

    def run(self, seconds: float, warm_up: float) -> Seen:
        """``warm_up``: seconds before which nothing is counted."""
        self._warm = warm_up
        self._at(self._random.expovariate(self._rate), self._arrive)
        counted = False
        while self._events and self._events[0][0] < warm_up + seconds:
            now, _, happens = heapq.heappop(self._events)
            if not counted and now >= warm_up:
                counted = True
                self._forget()
            happens(now)
        return self._seen(seconds)

    def _forget(self) -> None:
        for station in (*(gateway.core for gateway in self._gateways), self._postgres, self._valkey):
            station.busy = 0.0
        self.added, self.batches, self.settled_batches, self.in_flight_seconds = [], [], 0, 0.0

    def _seen(self, seconds: float) -> Seen:
        added = sorted(self.added) or [0.0]
        batches = len(self.batches) + self.settled_batches
        return Seen(
            requests=len(self.added),
            rate=len(self.added) / seconds,
            added_mean=sum(added) / len(added),
            added_p50=_quantile(added, 0.5),
            added_p99=_quantile(added, 0.99),
            gateway_busy=sum(gateway.core.busy for gateway in self._gateways) / seconds / len(self._gateways),
            postgres_busy=self._postgres.busy / seconds / self._service.postgres_cores,
            valkey_busy=self._valkey.busy / seconds,
            in_flight=self.in_flight_seconds / seconds,
            batch=sum(self.batches) / max(1, len(self.batches)),
            statements=batches * self._service.statements_a_batch / seconds,
        )

    def _at(self, when: float, happens: Callable[[float], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (when, self._number, happens))

    def _arrive(self, now: float) -> None:
        self._at(now + self._random.expovariate(self._rate), self._arrive)
        fewest = min(gateway.in_flight for gateway in self._gateways)
        gateway = self._random.choice([each for each in self._gateways if each.in_flight == fewest])
        gateway.in_flight += 1
        admitted = gateway.core.serve(now, self._service.request_cpu / 2)
        self._at(admitted, lambda then: self._count(then, now, gateway))

    def _count(self, now: float, arrived: float, gateway: _Gateway) -> None:
        counted = self._valkey.serve(now, self._service.valkey_cpu) + self._service.round_trip
        self._at(counted, lambda then: self._intend(then, arrived, gateway))

    def _intend(self, now: float, arrived: float, gateway: _Gateway) -> None:
        gateway.intents.append((arrived, self._random.random() < self._mix.hot))
        if not gateway.writing:
            self._write(now, gateway)

    def _write(self, now: float, gateway: _Gateway) -> None:
        """The next batch of intents of a gateway, if there is one."""
        batch = gateway.intents[: self._service.most_rows]
        del gateway.intents[: len(batch)]
        gateway.writing = bool(batch)
        if not batch:
            return
        self.batches.append(len(batch))
        seconds = self._service.batch_cpu + len(batch) * self._service.row_cpu
        begins = now
        if any(hot for _, hot in batch):  # the row is locked until the transaction has ended
            begins = max(now, self._hot_row)
            self._hot_row = begins + seconds
        written = self._postgres.serve(begins, seconds) + self._service.round_trip
        self._at(written, lambda then: self._written(then, gateway, [arrived for arrived, _ in batch]))

    def _written(self, now: float, gateway: _Gateway, arrived: Sequence[float]) -> None:
        for each in arrived:
            self.added.append(now - each)
            self._ask(now, each, gateway)
        self._write(now, gateway)

    def _ask(self, now: float, arrived: float, gateway: _Gateway) -> None:
        mix = self._mix
        if self._random.random() >= mix.streams:
            ends = now + self._random.expovariate(1 / mix.whole)
            self._at(ends, lambda then: self._end(then, arrived, gateway))
            return
        self._at(now + LUMP / mix.per_second, lambda then: self._chunks(then, arrived, gateway, mix.chunks))

    def _chunks(self, now: float, arrived: float, gateway: _Gateway, left: int) -> None:
        """Some chunks of a stream at once: each by itself would only be more events."""
        some = min(LUMP, left)
        gateway.core.serve(now, some * self._service.chunk_cpu)
        if left > some:
            again = now + LUMP / self._mix.per_second
            self._at(again, lambda then: self._chunks(then, arrived, gateway, left - some))
        else:
            self._end(now, arrived, gateway)

    def _end(self, now: float, arrived: float, gateway: _Gateway) -> None:
        ended = gateway.core.serve(now, self._service.request_cpu / 2)
        gateway.in_flight -= 1
        self.in_flight_seconds += ended - max(arrived, self._warm)
        gateway.settlements += 1
        if not gateway.settling:
            gateway.settling = True
            self._at(ended + SETTLED_EVERY, lambda then: self._settle(then, gateway))

    def _settle(self, now: float, gateway: _Gateway) -> None:
        rows, gateway.settlements, gateway.settling = gateway.settlements, 0, False
        self.settled_batches += 1
        self._postgres.serve(now, self._service.batch_cpu + rows * self._service.row_cpu)


def simulate(
    rate: float, gateways: int, mix: Mix, service: Service, *, seconds: float, seed: int = 1, warm_up: float = 0.0
) -> Seen:
    """``rate``: requests a second over all gateways. Equal arguments give equal results."""
    return _Fleet(rate, gateways, mix, service, seed).run(seconds, warm_up)


def most(holds: Callable[[float], bool], low: float, high: float, precise: float = 0.02) -> float:
    """The highest rate between two for which something holds that holds at the lower one, by halving."""
    while high / low > 1 + precise:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
