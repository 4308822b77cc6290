"""What is used where a name says too little: the default route of unlisted models, the default models of requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.config.layer import Layer
from gateway.config.problems import Location, did_you_mean
from gateway.config.upstreams import known_names
from gateway.core.images.splitting import usable_targets
from gateway.core.routing.route_table import RouteTable
from gateway.core.types import Route, Upstream


def default_route(user: Layer, builtin: Layer, upstreams: Mapping[str, Upstream]) -> tuple[Upstream, ...]:
    """The upstreams of the default route, in order, those without a key too; empty if it is switched off."""
    names, known = user.sections.default_route, known_names(user, builtin)
    for index, name in enumerate(names):
        location: Location = ("default_route", index)
        if name not in known and not user.document.is_broken(("upstreams",)):
            user.report(location, f"there is no such upstream; {did_you_mean(name, known)}")
        elif name in names[:index]:
            user.report(location, "is named twice; each upstream is asked once")
    return tuple(upstreams[name] for name in dict.fromkeys(names) if name in upstreams)


def default_models(user: Layer, declared: Sequence[Route], relays: bool) -> dict[str, str]:
    """Kind of request → its default model; kinds without one are left out.

    ``declared``: every route with every target. ``relays``: whether models without a route are relayed.
    """
    section = user.sections.default_models
    given = {kind: model for kind in type(section).model_fields if (model := getattr(section, kind))}
    if not given or user.document.is_broken(("models",)):
        return given
    table = RouteTable(declared)
    for kind, model in given.items():
        location: Location = ("default_models", kind)
        route = table.find(model)
        if kind == "images" and route is None:
            user.report(location, f"there is no such model; {did_you_mean(model, (one.model for one in declared))}")
        elif kind == "images" and route is not None and not usable_targets(route.targets):
            user.report(location, f"'{model}' makes no images")
        elif route is None and not relays:
            hint = did_you_mean(model, (one.model for one in declared))
            user.report(location, f"there is no such model, and default_route relays none; {hint}")
    return given
