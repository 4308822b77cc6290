"""The building of routes from sections: the built-in models, with the file's entries added or replacing them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from gateway.config.layer import Layer
from gateway.config.problems import Location, did_you_mean
from gateway.config.task_schema import TaskTypeSection
from gateway.config.upstream_schema import ModelSection, PriceSection, TargetSection
from gateway.config.upstreams import known_names
from gateway.core.images.task_facts import FieldRule, TaskFacts, TaskPrice
from gateway.core.images.task_model import dearest_price
from gateway.core.listed_model import end_of_day_ns
from gateway.core.types import ASYNCHRONOUS, FACTOR_UNIT, LongContext, Price, Route, Target, Upstream

_TargetKey = tuple[str, str, str]
TaskTypes = Mapping[str, TaskTypeSection]

_ROLES = ("width", "height", "ratio", "resolution", "scale", "count")
"""What a field of a task may be for, beside the prompt and the pictures."""


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
        self._prices: dict[_TargetKey, PriceSection] = {}
        self._tasks: dict[_TargetKey, TaskTypes] = {}
        self._builtin = builtin.sections.models
        self._outputs = {model: section.max_output for model, section in builtin.sections.models.items()}
        for model, section in builtin.sections.models.items():
            for target in section.targets:
                key = _target_key(model, target)
                if target.price is not None:
                    self._prices[key] = target.price
                if target.tasks is not None:
                    self._tasks.setdefault(key, target.tasks)

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
            if target.operation in ASYNCHRONOUS and upstream.dialect != "piapi":
                layer.report((*location, "operation"), "only an upstream of the dialect piapi has tasks")
            if target.tasks is not None and target.operation != "task":
                layer.report((*location, "tasks"), "only a target whose operation is task has task types")
            # What is left out is the built-in one of the same upstream, model and operation, if there is one.
            price = target.price or self._prices.get(_target_key(model, target))
            tasks = self._task_facts(model, target, location, layer)
            found.append(
                Target(
                    upstream,
                    target.model or model,
                    target.operation,
                    _price(price) or _price_of_tasks(tasks),
                    tasks,
                    target.shutdown.isoformat() if target.shutdown is not None else "",
                    end_of_day_ns(target.shutdown) if target.shutdown is not None else None,
                    target.successor or "",
                )
            )
        return tuple(found)

    def _task_facts(
        self, model: str, target: TargetSection, location: Location, layer: Layer
    ) -> Mapping[str, TaskFacts]:
        """The task types of a target, its own or the built-in ones; the entry of the same name knows them best."""
        sections: TaskTypes | None = target.tasks
        if sections is None and target.operation == "task":
            own = self._builtin[model].targets if model in self._builtin else []
            key = _target_key(model, target)
            same = (one.tasks for one in own if _target_key(model, one) == key and one.tasks is not None)
            sections = next(same, None) or self._tasks.get(key)
        for name, section in (sections or {}).items():
            for problem in _wrong_names(section):
                layer.report((*location, "tasks", name), problem)
        return {name: _facts(section) for name, section in (sections or {}).items()}

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
