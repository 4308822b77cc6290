"""The ends of models in words: what has ended or soon will, what then becomes of it, and which line to change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from gateway.config.settings import Config
from gateway.core.routing.endings import WARN_DAYS, Ending, endings
from gateway.core.types import Route, Target


@dataclass(frozen=True, slots=True)
class EndWarning:
    """A model of which a target that is used has ended or will soon.

    ``shutdown``, ``days``: the last day of the first of these targets, and how many days there are until then; below 0
        once it is over.
    ``successors``: the models that are to be asked instead; empty where none is known.
    ``gone``: whether a request for the model is then answered 404.
    ``sentence``: all of it in words, with the line to change.
    """

    model: str
    shutdown: str
    days: int
    successors: tuple[str, ...]
    gone: bool
    sentence: str


def end_warnings(config: Config, now_ns: int, within: int = WARN_DAYS) -> Iterator[EndWarning]:
    """One warning a model, in the catalogue's order.

    ``within``: days ahead. What has ended is warned of for as long as the target stands there.
    """
    found = endings(config.declared, now_ns, within)
    for model, each in groupby(found, key=lambda ending: ending.route.model):
        ends = list(each)
        first = min(ends, key=lambda ending: ending.days)
        successors = tuple(dict.fromkeys(end.target.successor for end in ends if end.target.successor))
        gone = any(not end.others for end in ends)
        sentence = "; ".join(_sentence(end, config) for end in ends)
        yield EndWarning(model, first.target.shutdown, first.days, successors, gone, sentence)


def without_ends(config: Config) -> Config:
    """The same configuration, but no model of it ever ends: for upstreams that are not the real ones."""

    def endless(route: Route) -> Route:
        return replace(route, targets=tuple(replace(one, shutdown="", ends_ns=None) for one in route.targets))

    return replace(config, routes=tuple(map(endless, config.routes)), declared=tuple(map(endless, config.declared)))


def _sentence(ending: Ending, config: Config) -> str:
    """``config.yaml:12: the model 'm' at 'backup' ended on …; its successor is …; …``."""
    target, model = ending.target, ending.route.model
    place = config.provenance[model][ending.index].place
    said = [f"the model '{model}' {_at([target], model)} {_when(ending)}"]
    if target.successor:
        said.append(f"its successor is '{target.successor}'")
    by = "" if ending.over else " then"
    if ending.others:
        said.append(f"it is{by} served {_at(ending.others, model)}")
    else:
        said.append(f"requests for it are{by} answered 404")
    said.append(_advice(ending, place))
    return (f"{place}: " if place else "") + "; ".join(said)


def _when(ending: Ending) -> str:
    day = ending.target.shutdown
    if ending.over:
        return f"ended on {day}"
    if ending.days == 0:
        return f"ends today, on {day}"
    return f"ends on {day}, in {ending.days} {'day' if ending.days == 1 else 'days'}"


def _advice(ending: Ending, place: str) -> str:
    """The line to change: that of the file, or the one to write over a built-in model."""
    new = ending.target.successor or "ANOTHER-MODEL"
    if place:
        return f"change that target to model: {new}, or take it out"
    return f"ask for '{new}', or write: {_line(ending, new)}"


def _line(ending: Ending, new: str) -> str:
    """The model's entry with the same targets, but the successor in the place of the one that ends."""
    entries = []
    for target in ending.route.targets:
        parts = [f"upstream: {target.upstream.name}"]
        model = new if target is ending.target else target.model
        if model != ending.route.model:
            parts.append(f"model: {model}")
        if target.operation != "chat":
            parts.append(f"operation: {target.operation}")
        entry = "{" + ", ".join(parts) + "}"
        if entry not in entries:
            entries.append(entry)
    return f"models: {{{ending.route.model}: {{targets: [{', '.join(entries)}]}}}}"


def _at(targets: Iterable[Target], model: str) -> str:
    """``at 'piapi' or 'backup' (as 'another-model')``."""
    names = (f"'{one.upstream.name}'" + (f" (as '{one.model}')" if one.model != model else "") for one in targets)
    return "at " + " or ".join(dict.fromkeys(names))
