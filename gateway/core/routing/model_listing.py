"""The models that a virtual key may use, as it is shown them: the catalogue's, and those that upstreams list.

A model that only an upstream lists can be asked where a route of the catalogue ends in ``*`` and leads to that upstream
by its name, or where that upstream is on the way of models that the catalogue does not name (the default route). On
that way only chats travel, so names that stand for no chat are left out there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.core.listed_model import ListedModel
from gateway.core.pricing.cost_bound import RequestedWork, cost_bound
from gateway.core.routing.listed_models import ListedModels
from gateway.core.routing.model_names import may_chat, vendor_of
from gateway.core.routing.route_table import RouteTable, allowed
from gateway.core.types import Route

CREATED = 1_735_689_600
"""2025-01-01, for the creation time that OpenAI's clients expect where no upstream states one."""


@dataclass(frozen=True, slots=True)
class ModelListing:
    """What is offered at this moment.

    ``relaying``: names of the upstreams that are asked, in this order, for models that the catalogue does not name.
    """

    routes: RouteTable
    lists: ListedModels
    now_ns: int
    relaying: Sequence[str] = ()

    def shown(self, patterns: Sequence[str], *, priced: bool) -> list[dict[str, Any]]:
        """The models in OpenAI's shape, by name.

        ``patterns``: of the models the key may use. ``priced``: leave out models that may cost what is not known.
        """
        names = {name for name in self._only_listed() if allowed(patterns, name)}
        names.update(self.routes.visible(patterns))
        declared = self._declared()
        return [shown for name in sorted(names) if (shown := self._shown(name, declared, priced)) is not None]

    def one(self, name: str, patterns: Sequence[str], *, priced: bool) -> dict[str, Any] | None:
        """The model of this name; None if there is none, or none for this key."""
        if name.endswith("*") or not allowed(patterns, name):
            return None
        return self._shown(name, self._declared(), priced)

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

    def _declared(self) -> frozenset[str]:
        return frozenset(route.model for route in self.routes)

    def _shown(self, name: str, declared: frozenset[str], priced: bool) -> dict[str, Any] | None:
        """A model in OpenAI's shape; None if it cannot be asked for, or not without a price."""
        route = self.routes.find(name)
        if priced and (route is None or cost_bound(route.targets, RequestedWork()) is None):
            return None
        if route is not None and route.model in declared:
            return self._of_route(name, route) if route.targets else None
        return _of_lists(name, self._living(name)) if may_chat(name) else None

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


def _of_lists(name: str, listed: Mapping[str, ListedModel]) -> dict[str, Any] | None:
    """A model that only upstreams know, None if none does. It ends when the last of them says so."""
    if not listed:
        return None
    entries = listed.values()
    created = next((one.created for one in entries if one.created is not None), CREATED)
    owner = next((one.owned_by for one in entries if one.owned_by), "") or vendor_of(name) or next(iter(listed))
    return _model(name, created, owner, [one.shutdown for one in entries])


def _model(name: str, created: int, owner: str, last_days: Sequence[str]) -> dict[str, Any]:
    model = {"id": name, "object": "model", "created": created, "owned_by": owner}
    if all(last_days):
        model["shutdown_date"] = max(last_days)
    return model
