"""The building of routes from sections: the built-in models, with the file's entries added or replacing them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from gateway.config.layer import Layer
from gateway.config.problems import Location, did_you_mean
from gateway.config.rewrites import rewrites_of
from gateway.config.settings import Provenance
from gateway.config.task_schema import TaskTypeSection
from gateway.config.upstream_schema import ModelSection, PriceSection, TargetSection
from gateway.config.upstreams import known_names
from gateway.core.images.task_facts import FieldRule, TaskFacts, TaskPrice
from gateway.core.images.task_model import dearest_price
from gateway.core.listed_model import end_of_day_ns
from gateway.core.route_rules import USUAL, CacheRules, RouteRules
from gateway.core.types import ASYNCHRONOUS, FACTOR_UNIT, LongContext, Price, Route, Target, Upstream

_Limit = Literal["max_output", "context"]
_TargetKey = tuple[str, str, str]
TaskTypes = Mapping[str, TaskTypeSection]

_ROLES = ("width", "height", "ratio", "resolution", "scale", "count")
"""What a field of a task may be for, beside the prompt and the pictures."""


@dataclass(frozen=True, slots=True)
class BuiltRoutes:
    """The routes of a configuration.

    ``declared``: every route with every target.
    ``plans``: model → the PiAPI plan it needs.
    ``provenance``: model → where each of its targets is from.
    """

    declared: tuple[Route, ...]
    plans: Mapping[str, str]
    provenance: Mapping[str, tuple[Provenance, ...]]

    def usable(self) -> tuple[Route, ...]:
        """The same routes with only those targets whose upstream has a key; a route may have none left."""
        return tuple(
            replace(route, targets=tuple(target for target in route.targets if target.upstream.credentials))
            for route in self.declared
        )


def build_routes(user: Layer, own: Layer, builtin: Layer, upstreams: Mapping[str, Upstream]) -> BuiltRoutes:
    """Merge name by name. An entry of the file replaces all targets of the one below it, which is that of the user's
    ``own`` catalogue or the built-in one; what else it leaves out is kept.
    """
    builder = _Builder(user, own, builtin, upstreams)
    declared = []
    plans = {}
    for model in dict.fromkeys([*builtin.sections.models, *own.sections.models, *user.sections.models]):
        entries = [
            (layer.sections.models[model], layer) for layer in (user, own, builtin) if model in layer.sections.models
        ]
        section, layer = next((one for one in entries if one[0].targets), entries[0])
        if not section.targets:
            layer.report(("models", model, "targets"), "is missing; give it a value")
        notes = next((one.notes for one, _ in entries if one.notes is not None), None)
        plan = next((one.plan for one, _ in entries if one.plan is not None), None)
        aliases = next((one.aliases for one, _ in entries if one.aliases is not None), None)
        if plan is not None:
            plans[model] = plan
        shown = (*([f"PiAPI: {plan}"] if plan else []), *(notes or []))
        targets = builder.targets(model, section, layer)
        declared.append(
            Route(
                model,
                targets,
                shown,
                builder.limit("max_output", model, section, entries[0][0]),
                aliases=tuple(aliases or ()),
                context=builder.limit("context", model, section, entries[0][0]),
                rules=_rules([one for one, _ in entries]),
            )
        )
    return BuiltRoutes(tuple(declared), plans, {model: tuple(found) for model, found in builder.provenance.items()})


class _Builder:
    """The builder of targets, which knows the prices below the file's own: the built-in ones, and above them those of
    the user's ``own`` catalogue.
    """

    def __init__(self, user: Layer, own: Layer, builtin: Layer, upstreams: Mapping[str, Upstream]) -> None:
        self._upstreams = upstreams
        self._known = frozenset(known_names(user, builtin))
        self._any_name = user.document.is_broken(("upstreams",))
        self._priced: dict[_TargetKey, TargetSection] = {}
        self.provenance: dict[str, list[Provenance]] = {}
        self._tasks: dict[_TargetKey, TaskTypes] = {}
        self._builtin = builtin
        self._below: dict[str, list[TargetSection]] = {}
        self._limits: dict[_Limit, dict[str, int]] = {"max_output": {}, "context": {}}
        for layer in (builtin, own):
            tasks: dict[_TargetKey, TaskTypes] = {}
            for model, section in layer.sections.models.items():
                self._below[model] = [*section.targets, *self._below.get(model, [])]
                for name, known in self._limits.items():
                    if (limit := getattr(section, name)) is not None:
                        known[model] = limit
                for target in map(self._in_dialect, section.targets):
                    key = _target_key(model, target)
                    if target.price is not None:
                        self._priced[key] = target
                    if target.tasks is not None:
                        tasks.setdefault(key, target.tasks)
                        self._priced.setdefault(key, target)
            self._tasks |= tasks

    def targets(self, model: str, section: ModelSection, layer: Layer) -> tuple[Target, ...]:
        found = []
        self.provenance[model] = []
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
            if (problem := _wrong_operation(target, upstream)) is not None:
                layer.report((*location, "operation"), problem)
            target = self._in_dialect(target)
            if target.tasks is not None and target.operation != "task":
                layer.report((*location, "tasks"), "only a target whose operation is task has task types")
            # What is left out is the built-in one of the same upstream, model and operation, if there is one.
            is_priced = target.price is not None or target.tasks is not None
            priced = target if is_priced else self._priced.get(_target_key(model, target), target)
            tasks = self._task_facts(model, target, location, layer)
            self.provenance[model].append(self._provenance(target, priced, location, layer))
            price = _price(priced.price) or _price_of_tasks(tasks)
            if price is not None and (target.confidence or priced.confidence) == "low":
                price = replace(price, estimated=True)
            found.append(
                Target(
                    upstream,
                    target.model or model,
                    target.operation,
                    price,
                    tasks,
                    target.shutdown.isoformat() if target.shutdown is not None else "",
                    end_of_day_ns(target.shutdown) if target.shutdown is not None else None,
                    target.successor or "",
                    rewrites_of(target, location, layer),
                )
            )
        return tuple(found)

    def _in_dialect(self, target: TargetSection) -> TargetSection:
        """The target with the operation by which its upstream is asked: of Anthropic's dialect there is but one."""
        upstream = self._upstreams.get(target.upstream)
        if upstream is None or upstream.dialect != "anthropic" or target.operation != "chat":
            return target
        return target.model_copy(update={"operation": "messages"})

    def _provenance(self, target: TargetSection, priced: TargetSection, location: Location, layer: Layer) -> Provenance:
        """Where a target is from; ``priced`` is the one it has its price from, perhaps itself."""
        position = layer.document.position(location)
        return Provenance(
            target.source or priced.source,
            target.as_of or priced.as_of,
            target.confidence or priced.confidence,
            f"{position.file}:{position.line}" if layer is not self._builtin else "",
        )

    def _task_facts(
        self, model: str, target: TargetSection, location: Location, layer: Layer
    ) -> Mapping[str, TaskFacts]:
        """The task types of a target, its own or the built-in ones; the entry of the same name knows them best."""
        sections: TaskTypes | None = target.tasks
        if sections is None and target.operation == "task":
            key = _target_key(model, target)
            below = self._below.get(model, [])
            same = (one.tasks for one in below if _target_key(model, one) == key and one.tasks is not None)
            sections = next(same, None) or self._tasks.get(key)
        for name, section in (sections or {}).items():
            for problem in _wrong_names(section):
                layer.report((*location, "tasks", name), problem)
        return {name: _facts(section) for name, section in (sections or {}).items()}

    def limit(self, name: _Limit, model: str, section: ModelSection, uppermost: ModelSection) -> int | None:
        """The limit the uppermost entry names, or that with the targets; else that of the entry of its name below it,
        or of a model that stands in for it and has a larger one; else the largest of its targets' models.
        """
        for one in (uppermost, section):
            told: int | None = getattr(one, name)
            if told is not None:
                return told
        limits = self._limits[name]
        known = [limit for target in section.targets if (limit := limits.get(target.model or model)) is not None]
        own = limits.get(model)
        if own is not None:
            return max([own, *known])
        # Any target may serve, so all must be known.
        return max(known, default=None) if len(known) == len(section.targets) else None


def _rules(entries: Sequence[ModelSection]) -> RouteRules:
    """How the model is served, by the uppermost entry that says it."""
    prefer = next((one.routing.prefer for one in entries if one.routing.prefer is not None), None)
    cache = next((one.cache for one in entries if one.cache is not None), None)
    kept = None if cache is None else CacheRules(cache.ttl, cache.max, cache.share)
    return RouteRules(prefer, kept) if prefer is not None or kept is not None else USUAL


def _wrong_operation(target: TargetSection, upstream: Upstream) -> str | None:
    """What is wrong with a target's operation at its upstream; None for nothing."""
    if target.operation in ASYNCHRONOUS and upstream.dialect != "piapi":
        return "only an upstream of the dialect piapi has tasks"
    if upstream.dialect == "anthropic" and target.operation not in ("chat", "messages"):
        return "an upstream of the dialect anthropic has nothing but messages"
    if upstream.dialect != "anthropic" and target.operation == "messages":
        return "only an upstream of the dialect anthropic has messages"
    return None


def _target_key(model: str, target: TargetSection) -> _TargetKey:
    return target.upstream, target.model or model, target.operation


def _wrong_names(section: TaskTypeSection) -> Iterator[str]:
    """What names a field that is not among the task type's fields."""
    named = {
        "prompt": section.prompt if section.prompt != "prompt" or "prompt" in section.fields else "",
        **{role: getattr(section, role) for role in _ROLES},
        "price.by": section.price.by or "",
    }
    for role, name in (*named.items(), *(("pictures", name) for name in section.pictures)):
        if name and name not in section.fields:
            yield f"{role} is '{name}', which is not among its fields; {did_you_mean(name, section.fields)}"
    if bool(section.width) != bool(section.height):
        yield "width and height go together"
    for name in section.pictures:
        if name in section.fields and section.fields[name].kind not in ("image", "images"):
            yield f"'{name}' takes pictures, so its kind is image or images"


def _facts(section: TaskTypeSection) -> TaskFacts:
    fields = {
        name: FieldRule(
            kind=rule.kind,
            required=rule.required,
            default=rule.default,
            minimum=rule.minimum,
            maximum=rule.maximum,
            choices=tuple(rule.choices),
            most=rule.most,
        )
        for name, rule in section.fields.items()
    }
    price = section.price
    return TaskFacts(
        fields=fields,
        prompt=section.prompt if section.prompt in fields else "",
        pictures=tuple(section.pictures),
        form=section.form,
        **{role: getattr(section, role) for role in _ROLES},
        side=section.side,
        max_pixels=section.max_pixels,
        result=tuple(section.result),
        price=TaskPrice(price.image, price.by or "", price.values, tuple(sorted(price.steps.items())), price.megapixel),
    )


def _price_of_tasks(tasks: Mapping[str, TaskFacts]) -> Price | None:
    """The dearest picture of any of the task types; None if one has no price."""
    dearest = dearest_price(tasks)
    return None if dearest is None else Price(image=dearest)


def _price(section: PriceSection | None) -> Price | None:
    """A section's price; None, for unknown, if it has none but a minimum of zero."""
    if section is None:
        return None
    given = section.model_dump()
    if (long := section.long) is not None:
        given["long"] = LongContext(long.above, long.input or FACTOR_UNIT, long.output or FACTOR_UNIT)
    price = Price(**given)
    return None if price == Price(estimated=price.estimated) else price
