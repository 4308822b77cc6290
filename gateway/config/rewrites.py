"""The check of a target's ``rewrites``: which fields of a chat it gets under another name, and which not at all."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.config.layer import Layer
from gateway.config.problems import Location
from gateway.config.upstream_schema import TargetSection
from gateway.core.types import STEERING_FIELDS, Rewrites

_Given = Mapping[str, str | tuple[str, ...]]

DROP = "drop"
"""The one entry that names no field: its value lists those that are left out."""

_KEPT = frozenset({"model", "messages", "stream", "stream_options", "n"})
"""What the gateway acts on itself, so that no configuration may change it."""

_STEERING = frozenset({*STEERING_FIELDS, "webhook_config"})


def rewrites_of(target: TargetSection, location: Location, layer: Layer) -> Rewrites | None:
    """The target's rewrites; None for none. What makes no sense is reported at its place.

    ``location``: of the target.
    """
    given = target.rewrites
    if not given:
        return None
    place = (*location, "rewrites")
    if target.operation != "chat":
        layer.report(place, "only a target whose operation is chat gets fields of a chat")
    drops = _drops(given, place, layer)
    renames: dict[str, str] = {}
    for old, new in given.items():
        if old == DROP:
            continue
        problem = _problem(old, new, given, drops)
        if problem is None and new in renames.values():
            problem = f"another field becomes '{new}' already"
        if problem is not None:
            layer.report((*place, old), problem)
        elif isinstance(new, str):
            renames[old] = new
    return Rewrites(tuple(renames.items()), drops) if renames or drops else None


def _drops(given: _Given, place: Location, layer: Layer) -> tuple[str, ...]:
    """What is left out, each once."""
    drops = given.get(DROP, ())
    if isinstance(drops, str):
        layer.report((*place, DROP), "expected a list of fields, such as [stop]")
        return ()
    for index, name in enumerate(drops):
        if name in _KEPT:
            layer.report((*place, DROP, index), f"'{name}' is never dropped")
    return tuple(dict.fromkeys(drops))


def _problem(old: str, new: str | tuple[str, ...], given: _Given, drops: tuple[str, ...]) -> str | None:
    """What is wrong with one renaming; None for nothing."""
    if not isinstance(new, str):
        return "expected one field's new name"
    for name in (old, new):
        if name in _KEPT:
            return f"'{name}' is never renamed, nor anything else to it"
        if name in _STEERING:
            return f"'{name}' could choose another model or place, so it is never renamed, nor anything else to it"
        if name in drops:
            return f"'{name}' is among those that are dropped"
    if new == old:
        return "a field's new name must differ from its old one"
    if new == DROP:
        return f"'{DROP}' is no field of a chat; to leave fields out write {DROP}: [{old}]"
    return f"'{new}' is renamed itself" if new in given else None
