"""The building of routes from sections: the built-in models, with the file's entries added or replacing them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gateway.config.layer import Layer
from gateway.config.problems import Location, did_you_mean
from gateway.config.upstream_schema import ModelSection, PriceSection, TargetSection
from gateway.config.upstreams import known_names
from gateway.core.types import Price, Route, Target, Upstream

_PriceKey = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class BuiltRoutes:
    """The routes of a configuration.

    ``declared``: every route with every target.
    ``plans``: model → the PiAPI plan it needs.
    """

    declared: tuple[Route, ...]
    plans: Mapping[str, str]

    def usable(self) -> tuple[Route, ...]:
        """The same routes with only those targets whose upstream has a key; a route may have none left."""
        return tuple(
            replace(route, targets=tuple(target for target in route.targets if target.upstream.credentials))
            for route in self.declared
        )


def build_routes(user: Layer, builtin: Layer, upstreams: Mapping[str, Upstream]) -> BuiltRoutes:
    """Merge name by name. An entry of the file replaces all targets of the built-in one; its other settings are
    kept.
    """
    builder = _Builder(user, builtin, upstreams)
    mine, base = user.sections.models, builtin.sections.models
    declared = []
    plans = {}
    for model in dict.fromkeys([*base, *mine]):
        section, layer = (mine[model], user) if model in mine else (base[model], builtin)
        notes, plan, aliases = section.notes, section.plan, section.aliases
        if model in base:
            aliases = base[model].aliases if aliases is None else aliases
            notes = base[model].notes if notes is None else notes
            plan = base[model].plan if plan is None else plan
        if plan is not None:
            plans[model] = plan
        shown = (*([f"PiAPI: {plan}"] if plan else []), *(notes or []))
        targets = builder.targets(model, section, layer)
        declared.append(Route(model, targets, shown, builder.max_output(model, section), aliases=tuple(aliases or ())))
    return BuiltRoutes(tuple(declared), plans)


class _Builder:
    """The builder of targets, which knows the built-in prices."""

    def __init__(self, user: Layer, builtin: Layer, upstreams: Mapping[str, Upstream]) -> None:
        self._upstreams = upstreams
        self._known = frozenset(known_names(user, builtin))
        self._any_name = user.document.is_broken(("upstreams",))
        self._prices: dict[_PriceKey, PriceSection] = {}
        self._outputs = {model: section.max_output for model, section in builtin.sections.models.items()}
        for model, section in builtin.sections.models.items():
            for target in section.targets:
                if target.price is not None:
                    self._prices[_price_key(model, target)] = target.price

    def targets(self, model: str, section: ModelSection, layer: Layer) -> tuple[Target, ...]:
        found = []
        for index, target in enumerate(section.targets):
            location: Location = ("models", model, "targets", index)
            upstream = self._upstreams.get(target.upstream)
            if upstream is None:
                if target.upstream not in self._known and not self._any_name:
                    hint = did_you_mean(target.upstream, self._known)
                    layer.report((*location, "upstream"), f"there is no such upstream; {hint}")
                continue
            if (target.model or "").endswith("*") and not model.endswith("*"):
                layer.report((*location, "model"), "'*' stands for what the model's own '*' does, but it has none")
            if target.operation == "task" and upstream.dialect != "piapi":
                layer.report((*location, "operation"), "only an upstream of the dialect piapi has tasks")
            # A price left out is the built-in one of the same upstream, model and operation, if there is one.
            price = target.price or self._prices.get(_price_key(model, target))
            found.append(Target(upstream, target.model or model, target.operation, _price(price)))
        return tuple(found)

    def max_output(self, model: str, section: ModelSection) -> int | None:
        """The limit of the model's own entry, or of the built-in one of that name, or the largest of its targets'
        built-in ones.
        """
        own = section.max_output or self._outputs.get(model)
        if own is not None:
            return own
        # Any target may serve, so all must be known.
        known = [limit for target in section.targets if (limit := self._outputs.get(target.model or model)) is not None]
        return max(known) if len(known) == len(section.targets) else None


def _price_key(model: str, target: TargetSection) -> _PriceKey:
    return target.upstream, target.model or model, target.operation


def _price(section: PriceSection | None) -> Price | None:
    """A section's price; None, for unknown, if it has none but a minimum of zero."""
    if section is None:
        return None
    price = Price(**section.model_dump())
    return None if price == Price(minimum=price.minimum) and not price.minimum else price
