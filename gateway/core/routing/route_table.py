"""The route table: which route a model takes, and which models a key may use.

Callers outside of routing import its public names from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from gateway.core.routing.failover import FailoverPlan
from gateway.core.routing.model_names import (
    ModelNames,
    NameMatch,
    after_vendor,
    allowed,
    allowed_as_asked,
    allowed_unlisted,
    spellings,
)
from gateway.core.routing.route_operations import asked_by
from gateway.core.routing.steps import AttemptPlan, Failover, Stop, Wait
from gateway.core.routing.upstream_state import UpstreamStates
from gateway.core.types import OperationName, Price, Route, Target, Upstream

__all__ = [
    "AttemptPlan",
    "Failover",
    "FailoverPlan",
    "ListPrice",
    "RouteTable",
    "Stop",
    "UpstreamStates",
    "Wait",
    "allowed",
    "allowed_unlisted",
    "no_list_price",
]


MOST_FILLED = 256
"""Names of which the route they mean is remembered; clients choose the names, so there is a bound."""

ListPrice = Callable[[Upstream, str], Price | None]
"""The price of a model at an upstream, for models that no route names; None if it is not known."""


def no_list_price(upstream: Upstream, model: str) -> None:
    """The ``ListPrice`` of who has no price list: every price is unknown."""


def no_limit(model: str) -> None:
    """The ``most_output`` of who knows no model."""


class RouteTable:
    """The catalogue's routes, and the one of models that the catalogue does not name.

    A route's model may end in ``*``: exact names come first, then aliases, then what clients make of them
    (model_names.py), then the longest prefix.

    ``wall_ns``: the wall clock; a target is left out once the day of its ``shutdown`` is over, in UTC. None keeps all.
    ``names``: those of its models without ``*``.
    ``dated``: gives a target the end that its upstream itself names, if it does.
    ``default_route``: the upstreams that are asked, in this order, for a model without a route; none for no such model.
    ``list_price``: the price of such a model. ``most_output``: tokens it can write in one choice; None if unknown.
    """

    def __init__(
        self,
        routes: Iterable[Route],
        wall_ns: Callable[[], int] | None = None,
        *,
        dated: Callable[[Target], Target] = lambda target: target,
        default_route: Sequence[Upstream] = (),
        list_price: ListPrice = no_list_price,
        most_output: Callable[[str], int | None] = no_limit,
    ) -> None:
        self._dated = dated
        self._declared = tuple(_each_target(route, dated) for route in routes)
        self._wall_ns = wall_ns
        self._default_route = tuple(default_route)
        self._list_price = list_price
        self._most_output = most_output
        self._next_end_ns: int | None = None
        self._take(self._declared if wall_ns is None else self._living(wall_ns()))

    def _living(self, now_ns: int) -> list[Route]:
        """The routes without the targets that have ended; notes when the next one ends."""
        ends = [target.ends_ns for route in self._declared for target in route.targets if target.ends_ns is not None]
        self._next_end_ns = min((end for end in ends if end > now_ns), default=None)
        return [_without_ended(route, now_ns) for route in self._declared]

    def _leave_out_ended(self) -> None:
        if self._next_end_ns is not None and self._wall_ns is not None and self._wall_ns() >= self._next_end_ns:
            self._take(self._living(self._wall_ns()))

    def _take(self, routes: Iterable[Route]) -> None:
        self._exact: dict[str, Route] = {}
        self._prefixes: list[tuple[str, Route]] = []
        self._filled: dict[str, Route] = {}
        self._names_of: dict[str, tuple[str, ...]] = {}
        self._open: dict[tuple[str, Sequence[str]], Route] = {}
        for route in routes:
            if route.model.endswith("*"):
                self._prefixes.append((route.model[:-1], route))
            else:
                self._exact[route.model] = route
        self._aliases = {
            alias: route for route in self._exact.values() for alias in route.aliases if alias not in self._exact
        }
        self.names = ModelNames(self._exact, {alias: route.model for alias, route in self._aliases.items()})
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
        if self._next_end_ns is not None:
            self._leave_out_ended()
        route = self._exact.get(model) or self._aliases.get(model)
        if route is not None:
            return route
        route = self._filled.get(model)
        if route is None:
            route = self._meant(model)
            if route is not None:
                if len(self._filled) >= MOST_FILLED:
                    self._filled.clear()
                self._filled[model] = route
        return route

    def open_to(self, patterns: tuple[str, ...], model: str) -> Route | None:
        """The route of ``model`` if it has targets and a key with these patterns may use it; None if it is to be asked
        why not (``find``, ``may_use``).
        """
        self._leave_out_ended()
        route = self._open.get((model, patterns))
        if route is None:
            route = self.find(model)
            if route is None or not route.targets or not self.may_use(patterns, model, route):
                return None
            if len(self._open) >= MOST_FILLED:
                self._open.clear()
            self._open[model, patterns] = route
        return route

    def _meant(self, model: str) -> Route | None:
        """The route of a name that is no route's own: of what it means, or by a route that ends in ``*``.

        Such a route comes first if it says more of the name than the model does that is meant: what stands behind that
        (``gpt-4o-*`` of ``gpt-4o-2024-08-06``), or before it (``openai/*`` of ``openai/gpt-4o``).
        """
        match, prefix = self.names.match(model), self._prefix_of(model)
        if match is not None and not (prefix and _says_more(prefix[0], match)):
            return self._exact[match.model]
        if prefix is not None:
            return self._dated_and_living(_filled_in(prefix, model))
        rest = model[after_vendor(model) :]
        prefix = self._prefix_of(rest) if rest != model else None
        return None if prefix is None else self._dated_and_living(_filled_in(prefix, rest))

    def _dated_and_living(self, route: Route) -> Route:
        """A filled-in route with the ends that only its targets' full names have, and without those that have ended."""
        route = _each_target(route, self._dated)
        if self._wall_ns is None:
            return route
        now_ns = self._wall_ns()
        ends = [target.ends_ns for target in route.targets if target.ends_ns is not None and target.ends_ns > now_ns]
        self._next_end_ns = min([*ends, *([] if self._next_end_ns is None else [self._next_end_ns])], default=None)
        return _without_ended(route, now_ns)

    def _prefix_of(self, model: str) -> tuple[str, Route] | None:
        """The route with the longest prefix of ``model``, and that prefix."""
        if model.endswith("*"):
            return None
        return next(
            (entry for entry in self._prefixes if model.startswith(entry[0]) and len(model) > len(entry[0])), None
        )

    def unlisted(self, model: str, operation: OperationName = "chat") -> Route | None:
        """The route of a model that no route names: the default route, which is asked for it by this very name. None
        without a default route, and for what cannot be a model's name.
        """
        if not self._default_route or not model or model.endswith("*"):
            return None
        targets = tuple(
            Target(upstream, model, by, self._list_price(upstream, model))
            for upstream in self._default_route
            if (by := asked_by(operation, upstream.dialect)) is not None
        )
        return self._dated_and_living(Route(model, targets, max_output=self._most_output(model))) if targets else None

    def may_use(self, patterns: Sequence[str], asked: str, route: Route) -> bool:
        """Whether a key with these patterns may use ``route``, which was found for the name ``asked``.

        The model's own name counts, and the name that was asked for, as far as that is the operator's and not only a
        client's way of writing it.
        """
        if route.model not in self._exact and not route.model.endswith("*"):
            return allowed_unlisted(patterns, asked)
        if allowed(patterns, route.named):
            return True
        match = self.names.match(asked)
        if match is not None and match.model == route.model and allowed(patterns, asked[match.start : match.end]):
            return True  # by an alias, which is the operator's word
        return asked != route.named and allowed_as_asked(patterns, asked, route.named)

    def names_of(self, model: str) -> tuple[str, ...]:
        """All names of the model that ``model`` names, that by which it is told first.

        One that the catalogue does not name is any spelling of it, since upstreams take several for one model.
        """
        if self._next_end_ns is not None:
            self._leave_out_ended()
        names = self._names_of.get(model)
        if names is None:
            route = self.find(model)
            if route is None:
                return (model,) if model.endswith("*") else spellings(model)
            names = spellings(route.asked, vendor=False) if route.asked else (route.named, *route.aliases)
            if len(self._names_of) >= MOST_FILLED:
                self._names_of.clear()
            self._names_of[model] = names
        return names

    def of_task(self, model: str, task_type: str) -> Route | None:
        """The route of a task as PiAPI itself names it, with only the targets that do it; None if none is described."""
        self._leave_out_ended()
        for name in dict.fromkeys((model, model[after_vendor(model) :])):
            for route in self._exact.values():
                targets = tuple(one for one in route.targets if one.model == name and task_type in one.tasks)
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

    def visible(self, patterns: Sequence[str]) -> list[str]:
        """The names of the models a key may use and an upstream serves, sorted.

        Of a route that ends in ``*`` those are seen that its upstreams are known to have, because another route asks
        for them there; and those that the key may use by their exact name.
        """
        self._leave_out_ended()
        seen = {model for model, route in self._exact.items() if route.targets and allowed(patterns, model)}
        seen.update(model for model in self._members if allowed(patterns, model))
        seen.update(name for name in patterns if not name.endswith("*") and self.offers(name))
        return sorted(seen)

    def offers(self, model: str) -> bool:
        """Whether any upstream that has a key serves ``model``."""
        route = self.find(model)
        return route is not None and bool(route.targets)


def _each_target(route: Route, changed: Callable[[Target], Target]) -> Route:
    """The route with every target changed; the same route if none is."""
    targets = tuple(changed(target) for target in route.targets)
    same = all(one is other for one, other in zip(targets, route.targets, strict=True))
    return route if same else replace(route, targets=targets)


def _without_ended(route: Route, now_ns: int) -> Route:
    if all(target.ends_ns is None for target in route.targets):
        return route
    living = tuple(target for target in route.targets if target.ends_ns is None or target.ends_ns > now_ns)
    ended = tuple(target for target in route.targets if target not in living)
    return replace(route, targets=living, ended=ended)


def _filled(target: Target, rest: str) -> Target:
    return replace(target, model=target.model[:-1] + rest) if target.model.endswith("*") else target


def _filled_in(entry: tuple[str, Route], model: str) -> Route:
    """A copy of a route that ends in ``*``, for ``model``, which it matches."""
    prefix, pattern = entry
    targets = tuple(_filled(target, model[len(prefix) :]) for target in pattern.targets)
    return replace(pattern, targets=targets, asked=model)


def _says_more(prefix: str, match: NameMatch) -> bool:
    """Whether a route's prefix covers what stands around the model in a name that ``match`` was found in."""
    return len(prefix) > match.end or 0 < match.start <= len(prefix)
