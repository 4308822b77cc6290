"""Counters and histograms in plain dictionaries, bounded in number; telemetry/metrics.py exposes them.

A family holds at most ``MAX_SERIES`` label sets. Observations of further label sets go into one whose labels are
``other``, so that sums stay true, and are counted. Written and read by one thread.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from typing import Generic, TypeVar

from gateway.core.types import OTHER
from gateway.telemetry.exposition import label_text
from gateway.telemetry.series_memory import FamilyFacts, NoRoom, SeriesMemory

MAX_SERIES = 2_000

Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LabelSpace:
    """The values that labels may take: those of the configuration, and the gateway's own routes."""

    routes: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()
    upstreams: frozenset[str] = frozenset()
    endpoints: frozenset[str] = frozenset()
    keys: Set[str] = frozenset()
    teams: Set[str] = frozenset()


def known(value: str | None, values: Set[str]) -> str:
    """The label of a value."""
    return value if value is not None and value in values else OTHER


class Count:
    """A number that only grows. Money is counted in whole nano-dollars, so that no fraction is lost."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Distribution:
    """Observations sorted into buckets; a bound belongs to the bucket it ends."""

    __slots__ = ("_counts", "bounds", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self._counts: list[int] | memoryview[int] = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def counts(self) -> list[int]:
        """How many observations each bucket has at this moment."""
        return list(self._counts)


class CountInMemory(Count):
    """A Count whose number another process reads too. ``cell``: where it stands."""

    __slots__ = ("_cell",)

    def __init__(self, cell: memoryview[int]) -> None:
        self._cell = cell

    @property
    def value(self) -> int:
        return self._cell[0]

    @value.setter
    def value(self, value: int) -> None:
        self._cell[0] = value


class DistributionInMemory(Distribution):
    """A Distribution that another process reads too. ``buckets``, ``total``: where its numbers stand."""

    __slots__ = ("_total",)

    def __init__(self, bounds: tuple[float, ...], buckets: memoryview[int], total: memoryview[float]) -> None:
        self.bounds = bounds
        self._counts = buckets
        self._total = total

    @property
    def sum(self) -> float:
        return self._total[0]

    @sum.setter
    def sum(self, value: float) -> None:
        self._total[0] = value


S = TypeVar("S", Count, Distribution)


class Family(Generic[S]):
    """The series of one metric, by their labels' values.

    ``kept``: how many of the last labels have few, fixed values (a reason, a type) and are kept when the others become
        ``other``.
    ``nano``: it counts nano-dollars.
    """

    __slots__ = (
        *("_kept", "_label_text", "_make", "_memory", "_series", "_texts"),
        *("dropped", "help", "labels", "name", "nano"),
    )

    def __init__(
        self, name: str, help: str, labels: Labels, make: Callable[[], S], *, kept: int = 0, nano: bool = False
    ) -> None:
        self.name = name
        self.help = help
        self.labels = labels
        self.dropped = 0
        self._make: Callable[[], S] = make
        self._kept = kept
        self._series: dict[Labels, S] = {}
        self._label_text = label_text(labels)
        self._texts: list[str] = []
        self._memory: tuple[SeriesMemory, FamilyFacts] | None = None
        self.nano = nano

    def keep_in(self, memory: SeriesMemory) -> None:
        """Count in ``memory`` what begins from now on."""
        example = self._make()
        bounds = example.bounds if isinstance(example, Distribution) else None
        facts = FamilyFacts(self.name, self.help, self.labels, bounds, self.nano)
        self._memory = (memory, facts)
        memory.declare(facts)

    def of(self, labels: Labels) -> S:
        """The series with these values, or the one of ``other`` if there is no room for it."""
        series = self._series.get(labels)
        return series if series is not None else self._new(labels)

    def has(self, labels: Labels) -> bool:
        """Whether there is a series of exactly these values."""
        return labels in self._series

    def __iter__(self) -> Iterator[tuple[Labels, S]]:
        return iter(list(self._series.items()))

    def values(self) -> list[S]:
        """All series, in the order in which they began, as ``texts`` has them."""
        return list(self._series.values())

    def texts(self) -> Iterator[str]:
        """The labels of every series as a scrape has them; each is written once. Series may begin meanwhile."""
        texts = self._texts
        for place, labels in enumerate(list(self._series)):
            if place == len(texts):
                texts.append(self._label_text(labels))
            yield texts[place]

    def _new(self, labels: Labels) -> S:
        if len(self._series) >= MAX_SERIES:
            self.dropped += 1
            plain = len(labels) - self._kept
            labels = (OTHER,) * plain + labels[plain:]
        found = self._series.get(labels)
        if found is None:
            found = self._series[labels] = self._made(labels)
        return found

    def _made(self, labels: Labels) -> S:
        made = self._make()
        if self._memory is None:
            return made
        memory, facts = self._memory
        text = self._label_text(labels)
        try:
            if isinstance(made, Distribution):
                return DistributionInMemory(made.bounds, *memory.distribution(facts, text))
            return CountInMemory(memory.count(facts, text))
        except NoRoom:
            return made
