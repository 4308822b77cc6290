"""Where an exchange begins: its route's targets, in the order that the configuration and what was learned call for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

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


def arrange(
    services: Services, snapshot: Snapshot, route: Route, parts: Sequence[OperationPart], record: ExchangeRecord
) -> tuple[Route, tuple[LearnedRouting, ...]]:
    """The route as it is to be walked, and what is known of each part on the way.

    ``record``: is told what changed, and how long such a request takes.
    """
    known = routings(services, snapshot, route, parts)
    first = known[0] if known else None
    prefer = route.rules.prefer or snapshot.prefer

    def most(target: Target) -> int | None:
        bounds = [part.cost_bound(target, exact=False) for part in parts]
        return None if None in bounds else sum(bound or 0 for bound in bounds)

    preferred = preferring(route.targets, prefer, first, most)
    targets = hopeless_last(preferred, first)
    if targets and first is not None:
        expected = first.expected(targets[0])
        record.expected = None if expected is None else expected.p50
        if targets[0] is not preferred[0]:
            record.learned = _passed_over(preferred[0], targets[0], first)
            services.metrics.begun_elsewhere(route.model, targets[0].upstream.name)
    if prefer != "order" and targets and targets[0] is not route.targets[0]:
        record.preferred = prefer
    same = all(one is other for one, other in zip(targets, route.targets, strict=True))
    return (route if same else replace(route, targets=targets)), known


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
