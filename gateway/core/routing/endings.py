"""The ends of models: which targets have ended, or will within some days. Days are those of UTC."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gateway.core.errors import ClientError, model_ended
from gateway.core.types import Route, Target

DAY_NS = 86_400 * 10**9

WARN_DAYS = 30
"""Days ahead of an end from which on it is warned of."""


@dataclass(frozen=True, slots=True)
class Ending:
    """A target that has ended, or is about to.

    ``index``: its place among the route's targets.
    ``days``: from today until its last day; 0 on that day, below 0 once it is over.
    ``others``: the targets of the route that are still there when this one has ended.
    """

    route: Route
    index: int
    target: Target
    days: int
    others: tuple[Target, ...]

    @property
    def over(self) -> bool:
        return self.days < 0


def days_left(target: Target, now_ns: int) -> int | None:
    """Days from today until a target's last day, below 0 once that is over; None where no end is known."""
    return None if target.ends_ns is None else (target.ends_ns - 1 - now_ns) // DAY_NS


def endings(routes: Iterable[Route], now_ns: int, within: int = WARN_DAYS) -> Iterator[Ending]:
    """The targets that have ended or do so ``within`` days, in the order of the routes; only those that are used,
    whose upstream has a key.
    """
    for route in routes:
        used = [target for target in route.targets if target.upstream.credentials]
        for index, target in enumerate(route.targets):
            days = days_left(target, now_ns)
            if days is None or days > within or not target.upstream.credentials:
                continue
            others = tuple(one for one in used if one is not target and _outlives(one, target, now_ns))
            yield Ending(route, index, target, days, others)


def ended_error(route: Route, model: str) -> ClientError | None:
    """The 404 for a model of which nothing but ended targets is left; None for any other.

    ``model``: as the client names it.
    """
    if route.targets or not route.ended:
        return None
    last = max(route.ended, key=lambda target: (target.ends_ns or 0, bool(target.successor)))
    return model_ended(model, last.shutdown, last.successor)


def _outlives(one: Target, other: Target, now_ns: int) -> bool:
    if one.ends_ns is None:
        return True
    return one.ends_ns > now_ns and one.ends_ns > (other.ends_ns or 0)
