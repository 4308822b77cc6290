"""Where an order begins by what was learned of others like it: not at a host that gives up before it would be done.

Nothing here takes a way out of a route: endpoints and targets are put in another order, and where all are alike they
stay in the usual one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from gateway.core.route_rules import Prefer
from gateway.core.routing.durations import ANY_SHAPE, Expected, LearnedDurations, OrderKind, OrderShape
from gateway.core.types import ASYNCHRONOUS, CostClass, Endpoint, Outcome, Phase, Target

_AT_A_WALL = frozenset({"cf_524", "stall_head", "stall_content", "stall_idle"})
_STOPPED_WAITING = frozenset({"deadline", "drain_cut", "task_poll"})
"""The outcomes of an order that would have taken longer. Of a task's creation a wall says nothing about the task."""


@runtime_checkable
class Shaped(Protocol):
    """Work of which it is known what decides how long it takes, beside its model."""

    def shape(self, target: Target) -> OrderShape:
        """As ``target`` is asked for it."""
        ...


@dataclass(frozen=True, slots=True)
class Avoided:
    """An endpoint that an order did not begin at. ``p90``: of orders like it; ``wall``: of the endpoint; seconds."""

    endpoint: str
    instead: str
    p90: float
    wall: float

    def __str__(self) -> str:
        return (
            f"begun at {self.instead}, since orders like it take {self.p90:.4g} s (p90) and {self.endpoint} gives up "
            f"after {self.wall:g} s"
        )


class LearnedRouting:
    """What is known of one order at each target, at one moment.

    ``order``: all are alike that are not ``Shaped``. ``at``: Unix seconds.
    """

    __slots__ = ("_at", "_known", "_learned", "_order", "avoided")

    def __init__(self, learned: LearnedDurations, order: object, at: float) -> None:
        self._learned = learned
        self._order = order
        self._at = at
        self._known: dict[int, Expected | None] = {}
        self.avoided: Avoided | None = None
        """The endpoint that was kept from coming first, if any was."""

    def expected(self, target: Target) -> Expected | None:
        """How long the order takes there; None if that is not known."""
        known = self._known
        if id(target) not in known:
            known[id(target)] = self._learned.expected(kind_of(target, shape_of(self._order, target)), self._at)
        return known[id(target)]

    def walled(self, endpoints: Sequence[Endpoint], target: Target) -> frozenset[str]:
        """The URLs of these endpoints at which the order is likely to be given up on."""
        if not self._meets_walls(target) or (expected := self.expected(target)) is None:
            return frozenset()
        return frozenset(one.url for one in endpoints if one.wall is not None and one.wall < expected.p90)

    def note(self, endpoints: Sequence[Endpoint], target: Target) -> None:
        """Remember which endpoint ``target`` would have been asked at, if it was not for its wall.

        ``endpoints``: those in use, as the order is to try them.
        """
        expected = self.expected(target)
        if self.avoided is not None or expected is None or not endpoints:
            return
        walled, urls = self.walled(endpoints, target), {one.url for one in endpoints}
        usual = next(one for one in target.upstream.endpoints if one.url in urls)
        if usual.url in walled and endpoints[0].url not in walled and usual.wall is not None:
            self.avoided = Avoided(usual.url, endpoints[0].url, expected.p90, usual.wall)

    def is_hopeless(self, target: Target) -> bool:
        """Whether most orders like it take longer than any endpoint there waits."""
        if not self._meets_walls(target) or (expected := self.expected(target)) is None:
            return False
        return all(one.wall is not None and one.wall < expected.p50 for one in target.upstream.endpoints)

    def _meets_walls(self, target: Target) -> bool:
        """Whether the answer may be silent until it is whole: what is asked after by its id never is, nor what brings
        previews.
        """
        held = target.cost_class is CostClass.PAID and target.operation not in ASYNCHRONOUS
        return held and shape_of(self._order, target).silent


def preferring(
    targets: tuple[Target, ...],
    prefer: Prefer,
    routing: LearnedRouting | None,
    cost: Callable[[Target], int | None],
) -> tuple[Target, ...]:
    """The same targets in the order in which they are to be tried.

    ``routing``: None where nothing is learned. ``cost``: nano-dollars the request can cost at most, None if unknown.

    By cost: what is cheapest comes first, what has no known price last. By speed: the targets that too little is known
    of come first, since what is not asked never becomes known; then the fastest by its median. Either way, targets that
    are alike stay in the order in which they are listed.
    """
    if prefer == "cost":
        costs = {id(one): cost(one) for one in targets}
        targets = tuple(sorted(targets, key=lambda one: _unknown_last(costs[id(one)])))
    elif prefer == "speed" and routing is not None:
        targets = tuple(sorted(targets, key=lambda one: _median(routing.expected(one))))
    return targets


def hopeless_last(targets: tuple[Target, ...], routing: LearnedRouting | None) -> tuple[Target, ...]:
    """The same targets, those at which most orders like it would be given up on behind the others."""
    return targets if routing is None else tuple(sorted(targets, key=routing.is_hopeless))


def shape_of(order: object, target: Target) -> OrderShape:
    """What of an order decides how long it takes at ``target``."""
    return order.shape(target) if isinstance(order, Shaped) else ANY_SHAPE


def kind_of(target: Target, shape: OrderShape = ANY_SHAPE) -> OrderKind:
    """What an order of this shape is learned by, at this target."""
    return OrderKind(target.upstream.name, target.operation, target.model, shape.size, shape.quality, shape.pieces)


def learn(
    learned: LearnedDurations, kind: OrderKind, endpoint: Endpoint, outcome: Outcome, *, seconds: float, at: float
) -> None:
    """Take in how an attempt ended. ``seconds``: that it waited for its upstream. ``at``: Unix seconds.

    A failure says how long an order takes only where it was given up on: at least so long, and where a CDN says that it
    waited for as long as it does, at least as long as the endpoint's wall.
    """
    if outcome.ok:
        learned.observe(kind, seconds, at)
        return
    walled = outcome.slug in _AT_A_WALL and kind.operation not in ASYNCHRONOUS
    if outcome.phase is not Phase.UNSENT and (walled or outcome.slug in _STOPPED_WAITING):
        if outcome.slug == "cf_524" and endpoint.wall is not None:
            seconds = max(seconds, endpoint.wall)
        learned.observe(kind, seconds, at, censored=True)


def _unknown_last(cost: int | None) -> tuple[bool, int]:
    return cost is None, cost or 0


def _median(expected: Expected | None) -> float:
    return 0.0 if expected is None else expected.p50
