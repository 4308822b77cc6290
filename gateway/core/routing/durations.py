"""How long orders take, as their own history tells: a decaying histogram for each kind of order.

A kind is an upstream, what is ordered there (operation, model) and what decides how long it takes (size, quality, how
many pieces in one). An order that was given up on while it ran, at a host's wall above all, counts as "at least so
long": a censored observation, by Kaplan and Meier's estimator. So the wall itself teaches, and an order that never
ended in time is not known as a short one.

Pure: the time is passed in, in Unix seconds, and everything follows from it. Durations are seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

SHORTEST, LONGEST = 0.01, 86_400.0
"""What is shorter or longer counts as this."""

STEPS = 8
"""Buckets for each doubling, so that a bucket's middle is within 4.5 % of what fell into it."""

ENOUGH = 12
"""Orders of a kind that must have been seen before it counts as known."""

STILL_KNOWN = 3.0
"""The weight, in orders of this moment, below which a kind is no longer known: a quarter of what was enough for it,
which is left after two half-lives without a new one."""

FORGOTTEN = 0.5
"""The weight below which a kind begins anew."""

MOST_KINDS = 512
"""Kinds that are kept; the one that was not seen for longest goes first, since clients choose sizes."""

LONGEST_NAME = 64
"""Characters of a size or quality; what is longer is one kind with all others that are."""

OTHER = "other"
AUTO = "auto"
"""A size or quality that is left to the upstream."""


@dataclass(frozen=True, slots=True)
class OrderShape:
    """What of an order, beside its model, decides how long it takes. ``pieces``: how many one request brings.

    ``silent``: whether nothing need come before the answer is done. It is not learned by.
    """

    size: str = AUTO
    quality: str = AUTO
    pieces: int = 1
    silent: bool = field(default=True, compare=False)

    @classmethod
    def of(cls, size: str | None, quality: str | None, pieces: int = 1, *, silent: bool = True) -> OrderShape:
        """As it is learned by: without what is not said, or too long to be kept, and pieces by doublings."""
        return cls(_name(size), _name(quality), 1 << (max(pieces, 1) - 1).bit_length(), silent)


ANY_SHAPE = OrderShape()


@dataclass(frozen=True, slots=True)
class OrderKind:
    """What is learned by. ``model``: by the upstream's name."""

    upstream: str
    operation: str
    model: str
    size: str = AUTO
    quality: str = AUTO
    pieces: int = 1


@dataclass(slots=True)
class Histogram:
    """The durations of one kind.

    ``at``: until when it is decayed. ``seen``: how many orders it was told of since it began, at most ``ENOUGH``.
    ``ended``, ``censored``: bucket → weight, of orders that took so long, and of those that took at least so long.
    """

    at: float
    seen: int = 0
    ended: dict[int, float] = field(default_factory=dict)
    censored: dict[int, float] = field(default_factory=dict)

    def weight(self, at: float, half_life: float) -> float:
        """Of all orders together at this time; one that has just ended weighs 1."""
        return (sum(self.ended.values()) + sum(self.censored.values())) * _decay(at - self.at, half_life)

    def add(self, seconds: float, at: float, half_life: float, *, censored: bool) -> None:
        """Take in an order that took ``seconds``, or at least so long."""
        if self.weight(at, half_life) < FORGOTTEN:
            self.seen, self.ended, self.censored = 0, {}, {}
        factor = _decay(at - self.at, half_life)
        for weights in (self.ended, self.censored):
            for bucket in list(weights):
                weights[bucket] *= factor
        self.at = max(self.at, at)
        self.seen = min(self.seen + 1, ENOUGH)
        weights = self.censored if censored else self.ended
        bucket = bucket_of(seconds)
        weights[bucket] = weights.get(bucket, 0.0) + 1.0

    def joined(self, other: Histogram | None, half_life: float) -> Histogram:
        """A new one that has seen what both have; what is forgotten by the later one's time counts no more."""
        if other is None:
            return Histogram(self.at, self.seen, dict(self.ended), dict(self.censored))
        found = Histogram(max(self.at, other.at))
        for one in (self, other):
            if one.weight(found.at, half_life) >= FORGOTTEN:
                found.seen = min(found.seen + one.seen, ENOUGH)
                _merge(found, one, _decay(found.at - one.at, half_life))
        return found

    def known(self, at: float, half_life: float) -> bool:
        """Whether enough was seen, and not too long ago."""
        return self.seen >= ENOUGH and self.weight(at, half_life) >= STILL_KNOWN

    def quantiles(self, shares: Sequence[float]) -> list[float]:
        """The seconds within which these shares of the orders end, in the order of ``shares``, which must rise."""
        return list(_quantiles(self.ended, self.censored, shares))


@dataclass(frozen=True, slots=True)
class Expected:
    """What is known of a kind: the seconds within which 10, 50 and 90 of a hundred orders end."""

    p10: float
    p50: float
    p90: float


@dataclass(frozen=True, slots=True)
class LearnedKind:
    """One kind, as ``status`` shows it.

    ``weight``: how many orders of this moment its memory is worth. ``expected``: None until it is known.
    """

    kind: OrderKind
    weight: float
    expected: Expected | None


@dataclass(frozen=True, slots=True)
class LearnedChange:
    """What is new of a kind since that was last kept.

    ``found``: all that is known of it; None if it is to be forgotten. ``added``: what was seen here since; None for
    nothing. ``at``: Unix seconds until which it was known here: what others have seen later stays.
    """

    kind: OrderKind
    found: Histogram | None
    added: Histogram | None
    at: float


class LearnedDurations:
    """All kinds. ``half_life``: seconds after which an order counts half."""

    def __init__(self, half_life: float = 7 * 86_400.0) -> None:
        self.half_life = half_life
        self._kinds: dict[OrderKind, Histogram] = {}
        self._added: dict[OrderKind, Histogram] = {}
        self._gone: dict[OrderKind, float] = {}

    def __len__(self) -> int:
        return len(self._kinds)

    def observe(self, kind: OrderKind, seconds: float, at: float, *, censored: bool = False) -> None:
        """An order took ``seconds``; ``censored``: it was given up on then, so it would have taken longer."""
        if not math.isfinite(seconds) or seconds < 0:
            return
        found = self._kinds.pop(kind, None) or Histogram(at)
        found.add(seconds, at, self.half_life, censored=censored)
        while len(self._kinds) >= MOST_KINDS:
            oldest = next(iter(self._kinds))
            self._gone[oldest] = self._kinds.pop(oldest).at
            self._added.pop(oldest, None)
        self._kinds[kind] = found
        self._gone.pop(kind, None)
        added = self._added.get(kind)
        if added is None:
            added = self._added[kind] = Histogram(at)
        added.add(seconds, at, self.half_life, censored=censored)

    def expected(self, kind: OrderKind, at: float) -> Expected | None:
        """What is known of a kind; None if that is too little, or too old."""
        found = self._kinds.get(kind)
        if found is None or not found.known(at, self.half_life):
            return None
        return Expected(*found.quantiles((0.1, 0.5, 0.9)))

    def kinds(self, at: float) -> Iterator[LearnedKind]:
        """Everything that is remembered, the newest last."""
        for kind, found in list(self._kinds.items()):
            if (weight := found.weight(at, self.half_life)) >= FORGOTTEN:
                yield LearnedKind(kind, weight, self.expected(kind, at))

    def together(
        self, at: float, is_named: Callable[[str, str], bool] = lambda upstream, model: True
    ) -> Iterator[tuple[OrderKind, Expected]]:
        """What is known of each upstream, operation and model, of any size, quality and number of pieces.

        ``is_named``: whether an upstream's model is told by its name; all others are told as ``other``.
        """
        sums: dict[OrderKind, Histogram] = {}
        for kind, found in self._kinds.items():
            if found.known(at, self.half_life):
                model = kind.model if is_named(kind.upstream, kind.model) else OTHER
                broad = OrderKind(kind.upstream, kind.operation, model)
                _merge(sums.setdefault(broad, Histogram(at)), found, _decay(at - found.at, self.half_life))
        for broad, merged in sums.items():
            yield broad, Expected(*merged.quantiles((0.1, 0.5, 0.9)))

    # Kept beyond a restart

    def changed(self) -> list[LearnedChange]:
        """What is other than it was when this was last asked."""
        added, self._added = self._added, {}
        gone, self._gone = self._gone, {}
        return [
            *(LearnedChange(kind, self._kinds[kind], new, self._kinds[kind].at) for kind, new in added.items()),
            *(LearnedChange(kind, None, None, at) for kind, at in gone.items()),
        ]

    def change_again(self, changes: Iterable[LearnedChange]) -> None:
        """These could not be kept: they are still to be."""
        for change in changes:
            if change.kind not in self._kinds:
                self._gone[change.kind] = change.at
            elif change.added is not None:
                self._added[change.kind] = change.added.joined(self._added.get(change.kind), self.half_life)

    def take_over(self, kept: Iterable[tuple[OrderKind, Histogram]]) -> None:
        """Know these as they were kept, with what others have seen, and what was seen here and is still to be kept."""
        for kind, found in kept:
            if kind in self._kinds or len(self._kinds) < MOST_KINDS:
                self._kinds[kind] = found.joined(self._added.get(kind), self.half_life)

    def restore(self, kept: Iterable[tuple[OrderKind, Histogram]]) -> None:
        """Take over what was kept; what was learned since stays as it is."""
        for kind, found in sorted(kept, key=lambda one: one[1].at)[-MOST_KINDS:]:
            self._kinds.setdefault(kind, found)


def bucket_of(seconds: float) -> int:
    """The number of the bucket that a duration falls into."""
    return math.floor(math.log2(min(max(seconds, SHORTEST), LONGEST) / SHORTEST) * STEPS)


def middle_of(bucket: int) -> float:
    """The seconds in a bucket's middle, on the scale of doublings."""
    return float(SHORTEST * 2.0 ** ((bucket + 0.5) / STEPS))


def _quantiles(ended: Mapping[int, float], censored: Mapping[int, float], shares: Sequence[float]) -> Iterator[float]:
    """Kaplan and Meier's estimate. What is left when nothing more is known ends one bucket beyond all that is known."""
    buckets = sorted(ended.keys() | censored.keys())
    at_risk = sum(ended.values()) + sum(censored.values())
    surviving, place = 1.0, 0
    for share in shares:
        while place < len(buckets) and 1.0 - surviving < share - 1e-9:
            bucket = buckets[place]
            died = ended.get(bucket, 0.0)
            surviving *= 1.0 - min(died / at_risk, 1.0) if at_risk > 0 else 1.0
            at_risk -= died + censored.get(bucket, 0.0)
            place += 1
        reached = 1.0 - surviving >= share - 1e-9 and place > 0
        yield middle_of(buckets[place - 1] if reached else buckets[-1] + 1) if buckets else 0.0


def _merge(into: Histogram, found: Histogram, factor: float) -> None:
    for own, other in ((into.ended, found.ended), (into.censored, found.censored)):
        for bucket, weight in other.items():
            own[bucket] = own.get(bucket, 0.0) + weight * factor


def _decay(seconds: float, half_life: float) -> float:
    """What is left of a weight after so long; a clock that went back changes nothing."""
    return float(2.0 ** -(max(seconds, 0.0) / half_life))


def _name(text: str | None) -> str:
    text = (text or AUTO).strip().lower()
    return text if 0 < len(text) <= LONGEST_NAME and text.isprintable() else OTHER
