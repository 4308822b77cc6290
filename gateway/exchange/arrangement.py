"""Where an exchange begins: its route's targets, in the order that the configuration and what was learned call for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from gateway.core.exchange_record import ExchangeRecord
from gateway.core.routing.learned_routing import LearnedRouting, hopeless_last, kind_of, learn, preferring, shape_of
from gateway.core.types import CostClass, Endpoint, Outcome, Route, Target
from gateway.exchange.operation import Operation, OperationPart
from gateway.exchange.services import Services, Snapshot


def routings(
    services: Services, snapshot: Snapshot, route: Route, parts: Sequence[object]
) -> tuple[LearnedRouting, ...]:
    """What is known of each part of a request. Empty for one that nothing is learned of: it is billed by tokens, and
    its targets are not put in order by their speed.
    """
    if not snapshot.learns:
        return ()
    by_speed = (route.rules.prefer or snapshot.prefer) == "speed"
    if not by_speed and all(one.cost_class is not CostClass.PAID for one in route.targets):
        return ()
    at = services.clock.wall_ns() / 1e9
    return tuple(LearnedRouting(services.learned, part, at) for part in parts)


@dataclass(frozen=True, slots=True)
class Arrangement:
    """A route as it is to be walked. ``routings``: what is known of each part on the way.

    ``learned``, ``preferred``: as in ExchangeRecord, why another target comes first than usually; empty if none does.
    """

    route: Route
    routings: tuple[LearnedRouting, ...] = ()
    learned: str = ""
    preferred: str = ""

    def tell(self, services: Services, record: ExchangeRecord) -> None:
        """The request goes this way."""
        record.learned, record.preferred = self.learned, self.preferred
        first = self.route.targets[0] if self.route.targets else None
        if first is not None and self.routings:
            expected = self.routings[0].expected(first)
            record.expected = None if expected is None else expected.p50
            if self.learned:
                services.metrics.begun_elsewhere(self.route.model, first.upstream.name)


def arrange(services: Services, snapshot: Snapshot, route: Route, parts: Sequence[OperationPart]) -> Arrangement:
    """The order in which a request's targets are to be tried."""
    known = routings(services, snapshot, route, parts)
    first = known[0] if known else None
    prefer = route.rules.prefer or snapshot.prefer
    preferred = preferring(route.targets, prefer, first, partial(_most, parts))
    targets = hopeless_last(preferred, first)
    if all(one is other for one, other in zip(targets, route.targets, strict=True)):
        return Arrangement(route, known)
    return Arrangement(
        replace(route, targets=targets),
        known,
        _passed_over(preferred[0], targets[0], first) if first is not None and targets[0] is not preferred[0] else "",
        prefer if prefer != "order" and targets[0] is not route.targets[0] else "",
    )


def may_cost_more(arranged: Route, usual: Route, parts: Sequence[OperationPart]) -> bool:
    """Whether the request can cost more at the target that now comes first than at the one that usually does, so that a
    budget may have no room for it although it has for the usual way.
    """
    if arranged is usual or arranged.targets[0] is usual.targets[0]:
        return False
    most, usually = _most(parts, arranged.targets[0]), _most(parts, usual.targets[0])
    return most is None or (usually is not None and most > usually)


def _most(parts: Sequence[OperationPart], target: Target) -> int | None:
    """Nano-dollars the request can cost at most at ``target``; None if that is not known."""
    bounds = [part.cost_bound(target, exact=False) for part in parts]
    return None if None in bounds else sum(bound or 0 for bound in bounds)


def expected_seconds(services: Services, operation: Operation, route: Route) -> float | None:
    """The seconds that such a request usually takes (its median); None if that is not known.

    ``route``: its targets are in the order in which they are tried.
    """
    known = routings(services, services.snapshot, route, operation.parts)
    expected = known[0].expected(route.targets[0]) if known and route.targets else None
    return None if expected is None else expected.p50


def learn_of(
    services: Services, part: object, target: Target, endpoint: Endpoint, outcome: Outcome, *, seconds: float
) -> None:
    """Remember how an attempt ended. ``seconds``: that it waited for its upstream."""
    kind, at = kind_of(target, shape_of(part, target)), services.clock.wall_ns() / 1e9
    learn(services.learned, kind, endpoint, outcome, seconds=seconds, at=at)


def _passed_over(target: Target, instead: Target, known: LearnedRouting) -> str:
    expected = known.expected(target)
    seconds = 0.0 if expected is None else expected.p50
    return (
        f"begun at {instead.upstream.name}, since orders like it take {seconds:.4g} s (p50) at {target.upstream.name} "
        "and every endpoint there gives up before"
    )
