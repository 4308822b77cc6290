"""The route table: which route a model takes, and which models a key may use.

Callers outside of routing import its public names from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from gateway.core.routing.failover import FailoverPlan
from gateway.core.routing.steps import AttemptPlan, Failover, Stop, Wait
from gateway.core.routing.upstream_state import UpstreamStates
from gateway.core.types import Route, Target

__all__ = ["AttemptPlan", "Failover", "FailoverPlan", "RouteTable", "Stop", "UpstreamStates", "Wait", "allowed"]


MOST_FILLED = 256
"""Models of routes that end in ``*`` whose filled-in route is remembered; clients choose the names, so there is a
bound."""


class RouteTable:
    """The catalogue's routes. A route's model may end in ``*``: exact names come first, then aliases, then the longest
    prefix.

    ``wall_ns``: the wall clock; a target is left out once the day of its ``shutdown`` is over, in UTC. None keeps all.
    ``dated``: gives a target the end that its upstream itself names, if it does.
    """

    def __init__(
        self,
        routes: Iterable[Route],
        wall_ns: Callable[[], int] | None = None,
        dated: Callable[[Target], Target] = lambda target: target,
    ) -> None:
        self._dated = dated
        self._declared = tuple(_each_target(route, dated) for route in routes)
        self._wall_ns = wall_ns
        self._next_end_ns: int | None = None
        self._take(self._declared if wall_ns is None else self._living(wall_ns()))

    def _living(self, now_ns: int) -> list[Route]:
        """The routes without the targets that have ended; notes when the next one ends."""
        ends = [target.ends_ns for route in self._declared for target in route.targets if target.ends_ns is not None]
        self._next_end_ns = min((end for end in ends if end > now_ns), default=None)
        return [_without_ended(route, now_ns) for route in self._declared]

    def _take(self, routes: Iterable[Route]) -> None:
        self._exact: dict[str, Route] = {}
        self._prefixes: list[tuple[str, Route]] = []
        self._filled: dict[str, Route] = {}
        for route in routes:
            if route.model.endswith("*"):
                self._prefixes.append((route.model[:-1], route))
            else:
                self._exact[route.model] = route
        self._aliases = {
            alias: route for route in self._exact.values() for alias in route.aliases if alias not in self._exact
        }
        self._prefixes.sort(key=lambda entry: len(entry[0]), reverse=True)
        self._members = sorted(self._known_members())

    def __iter__(self) -> Iterator[Route]:
        yield from self._exact.values()
        for _, route in self._prefixes:
            yield route

    def find(self, model: str) -> Route | None:
        """The route of ``model`` as a client names it, or None.

        Of a route that ends in ``*`` a copy is returned whose targets ask for this model: a target's ``*`` stands for
        what the route's own ``*`` stood for. ``Route.model`` keeps the pattern, so that it can label metrics.
        """
        if self._next_end_ns is not None and self._wall_ns is not None and self._wall_ns() >= self._next_end_ns:
            self._take(self._living(self._wall_ns()))
        route = self._exact.get(model) or self._aliases.get(model)
        if route is not None:
            return route
        route = self._filled.get(model)
        if route is not None:
            return route
        for prefix, pattern in self._prefixes:
            if model.startswith(prefix) and len(model) > len(prefix) and not model.endswith("*"):
                rest = model[len(prefix) :]
                targets = tuple(_filled(target, rest) for target in pattern.targets)
                route = self._dated_and_living(replace(pattern, targets=targets, asked=model))
                if len(self._filled) >= MOST_FILLED:
                    self._filled.clear()
                self._filled[model] = route
                return route
        return None

    def _dated_and_living(self, route: Route) -> Route:
        """A filled-in route with the ends that only its targets' full names have, and without those that have ended."""
        route = _each_target(route, self._dated)
        if self._wall_ns is None:
            return route
        now_ns = self._wall_ns()
        ends = [target.ends_ns for target in route.targets if target.ends_ns is not None and target.ends_ns > now_ns]
        self._next_end_ns = min([*ends, *([] if self._next_end_ns is None else [self._next_end_ns])], default=None)
        return _without_ended(route, now_ns)

    def of_task(self, model: str, task_type: str) -> Route | None:
        """The route of a task as PiAPI itself names it, with only the targets that do it; None if none is described."""
        for route in self._exact.values():
            targets = tuple(one for one in route.targets if one.model == model and task_type in one.tasks)
            if targets:
                return replace(route, targets=targets)
        return None

    def _known_members(self) -> Iterator[str]:
        """The names that routes with ``*`` serve, as far as targets of other routes tell of them."""
        known = {
            (target.upstream.name, target.operation, target.model)
            for route in self
            for target in route.targets
            if not target.model.endswith("*")
        }
        for prefix, route in self._prefixes:
            for target in route.targets:
                if not target.model.endswith("*"):
                    continue
                asked = target.model[:-1]
                for upstream, operation, model in known:
                    same = upstream == target.upstream.name and operation == target.operation
                    if same and model.startswith(asked) and len(model) > len(asked):
                        name = prefix + model[len(asked) :]
                        if name not in self._exact and self.offers(name):
                            yield name

    @staticmethod
    def allowed(patterns: Sequence[str], model: str) -> bool:
        """Whether a key with these patterns may use ``model``."""
        return allowed(patterns, model)

    def visible(self, patterns: Sequence[str]) -> list[str]:
        """The names of the models a key may use and an upstream serves, sorted.

        Of a route that ends in ``*`` those are seen that its upstreams are known to have, because another route asks
        for them there; and those that the key may use by their exact name.
        """
        seen = {model for model, route in self._exact.items() if route.targets and allowed(patterns, model)}
        seen.update(model for model in self._members if allowed(patterns, model))
        seen.update(name for name in patterns if not name.endswith("*") and self.offers(name))
        return sorted(seen)

    def offers(self, model: str) -> bool:
        """Whether any upstream that has a key serves ``model``."""
        route = self.find(model)
        return route is not None and bool(route.targets)


def allowed(patterns: Sequence[str], model: str) -> bool:
    """Whether ``model`` matches one of a key's patterns. A final ``*`` stands for any ending, also an empty one."""
    return any(model.startswith(one[:-1]) if one.endswith("*") else one == model for one in patterns)


def _each_target(route: Route, changed: Callable[[Target], Target]) -> Route:
    """The route with every target changed; the same route if none is."""
    targets = tuple(changed(target) for target in route.targets)
    same = all(one is other for one, other in zip(targets, route.targets, strict=True))
    return route if same else replace(route, targets=targets)


def _without_ended(route: Route, now_ns: int) -> Route:
    if all(target.ends_ns is None for target in route.targets):
        return route
    living = tuple(target for target in route.targets if target.ends_ns is None or target.ends_ns > now_ns)
    return replace(route, targets=living)


def _filled(target: Target, rest: str) -> Target:
    return replace(target, model=target.model[:-1] + rest) if target.model.endswith("*") else target
