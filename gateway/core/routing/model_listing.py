"""The models that a virtual key may use, as it is shown them: the catalogue's, and those that upstreams list.

A model that only an upstream lists can be asked where a route of the catalogue ends in ``*`` and leads to that upstream
by its name, or where that upstream is on the way of models that the catalogue does not name (the default route). No
pictures and no films travel that way, so names that stand for these are left out there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from gateway.core.errors import ClientError, model_not_found
from gateway.core.listed_model import ListedModel
from gateway.core.pricing.cost_bound import RequestedWork, cost_bound
from gateway.core.routing.endings import ended_error
from gateway.core.routing.listed_models import ListedModels
from gateway.core.routing.model_kinds import may_be_asked, vendor_of
from gateway.core.routing.route_table import RouteTable, allowed, allowed_unlisted
from gateway.core.types import Route

CREATED = 1_735_689_600
"""2025-01-01, for the creation time that OpenAI's clients expect where no upstream states one."""


@dataclass(frozen=True, slots=True)
class _Offer:
    """A model in OpenAI's shape.

    ``priced``: all that it can cost is known. ``allowed``: whether a key's patterns allow it by this name.
    """

    shown: dict[str, Any]
    priced: bool
    allowed: Callable[[Sequence[str], str], bool] = allowed


@dataclass(frozen=True)
class ModelListing:
    """What is offered at a moment. It is put together once, for all who ask.

    ``relaying``: names of the upstreams that are asked, in this order, for models that the catalogue does not name.
    ``relayed``: the route of such a model; None if there is none.
    """

    routes: RouteTable
    lists: ListedModels
    now_ns: int
    relaying: Sequence[str] = ()
    relayed: Callable[[str], Route | None] = lambda name: None

    def shown(self, patterns: Sequence[str], *, priced: bool) -> list[dict[str, Any]]:
        """The models in OpenAI's shape, by name.

        ``patterns``: of the models the key may use. ``priced``: leave out models that may cost what is not known.
        """
        offered = self._offered
        if "*" not in patterns:
            offered = {name: one for name, one in offered.items() if one.allowed(patterns, name)}
        unnamed = [name for name in patterns if not name.endswith("*") and name not in offered]
        exact = {name: offer for name in unnamed if (offer := self._offer(name)) is not None}
        if exact:  # a model of a route that ends in ``*``, known by the key's own permission only
            offered = dict(sorted({**offered, **exact}.items()))
        return [one.shown for one in offered.values() if one.priced or not priced]

    def one(self, name: str, patterns: Sequence[str], *, priced: bool) -> dict[str, Any] | None:
        """The model of this name; None if there is none, or none for this key."""
        if name.endswith("*") or not self._may_use(name, patterns):
            return None
        offer = self._offer(name)
        return offer.shown if offer is not None and (offer.priced or not priced) else None

    def missing(self, name: str, patterns: Sequence[str]) -> ClientError:
        """The 404 for a model that ``one`` does not have: a key that may use it learns when it ended."""
        route = None if name.endswith("*") else self.routes.find(name)
        ended = ended_error(route, name) if route is not None and self._may_use(name, patterns) else None
        return ended or model_not_found(name)

    def _may_use(self, name: str, patterns: Sequence[str]) -> bool:
        route = self.routes.find(name)
        return allowed_unlisted(patterns, name) if route is None else self.routes.may_use(patterns, name, route)

    @cached_property
    def _offered(self) -> Mapping[str, _Offer]:
        """Everything that has a name, in the names' order."""
        names = {*self._only_listed(), *self.routes.visible(["*"])}
        return {name: offer for name in sorted(names) if (offer := self._offer(name)) is not None}

    def _only_listed(self) -> Iterator[str]:
        """Names that upstreams list, as clients would ask for them."""
        for route in self.routes:
            if not route.model.endswith("*"):
                continue
            for target in route.targets:
                if target.model.endswith("*"):
                    prefix = target.model[:-1]
                    for name in self.lists.models(target.upstream.name):
                        if name.startswith(prefix) and len(name) > len(prefix):
                            yield route.model[:-1] + name[len(prefix) :]
        for upstream in self.relaying:
            yield from self.lists.models(upstream)

    def _offer(self, name: str) -> _Offer | None:
        """A model; None if it cannot be asked for."""
        route = self.routes.find(name)
        if route is not None:
            return _Offer(self._of_route(name, route), _has_price(route)) if route.targets else None
        listed = self._living(name) if may_be_asked(name) else None
        if not listed:
            return None
        return _Offer(_of_lists(name, listed), _has_price(self.relayed(name)), allowed_unlisted)

    def _living(self, name: str) -> dict[str, ListedModel]:
        """The upstreams on the default route that list this name and still serve it, with what they say of it."""
        found = ((upstream, self.lists.models(upstream).get(name)) for upstream in self.relaying)
        return {
            upstream: one
            for upstream, one in found
            if one is not None and (one.ends_ns is None or one.ends_ns > self.now_ns)
        }

    def _of_route(self, name: str, route: Route) -> dict[str, Any]:
        """A model of the catalogue. It ends when its last target does."""
        listed = (self.lists.models(target.upstream.name).get(target.model) for target in route.targets)
        created = next((one.created for one in listed if one is not None and one.created is not None), CREATED)
        owner = vendor_of(name) or route.targets[0].upstream.name
        return _model(name, created, owner, [target.shutdown for target in route.targets])


def _has_price(route: Route | None) -> bool:
    return route is not None and cost_bound(route.targets, RequestedWork()) is not None


def _of_lists(name: str, listed: Mapping[str, ListedModel]) -> dict[str, Any]:
    """A model that only upstreams know. It ends when the last of them says so."""
    entries = listed.values()
    created = next((one.created for one in entries if one.created is not None), CREATED)
    owner = next((one.owned_by for one in entries if one.owned_by), "") or vendor_of(name) or next(iter(listed))
    return _model(name, created, owner, [one.shutdown for one in entries])


def _model(name: str, created: int, owner: str, last_days: Sequence[str]) -> dict[str, Any]:
    model = {"id": name, "object": "model", "created": created, "owned_by": owner}
    if all(last_days):
        model["shutdown_date"] = max(last_days)
    return model
