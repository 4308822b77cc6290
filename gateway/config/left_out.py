"""The names in entries that were left out for another mistake: they too must fit the rest of the file.

A model or a key with one wrong value is left out as a whole (``layer.py``), and the assembly never sees the others.
What they name can be held against the rest all the same, so that a second run of ``check`` tells nothing new.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set

from gateway.config.layer import Layer
from gateway.config.problems import Location, did_you_mean

SAME_NAME = "another key has this name; names must differ"


def check_left_out(layers: Iterable[Layer], known_upstreams: Set[str]) -> None:
    """Report what entries that were left out name wrongly.

    ``known_upstreams``: every upstream's name; nothing is said of upstreams if the section of the first layer, the
    user's, cannot be read.
    """
    for number, layer in enumerate(layers):
        if number == 0:
            _check_key_names(layer)
            if layer.document.is_broken(("upstreams",)):
                return
        for location, name in _upstreams_named(layer):
            if name not in known_upstreams:
                _report(layer, location, f"there is no such upstream; {did_you_mean(name, known_upstreams)}")


def _upstreams_named(layer: Layer) -> Iterator[tuple[Location, str]]:
    """What targets of left-out models name as their upstream."""
    models = layer.document.data.get("models")
    for model, section in models.items() if isinstance(models, dict) else ():
        targets = section.get("targets") if isinstance(section, dict) else None
        if not isinstance(targets, list) or not layer.document.is_broken(("models", model)):
            continue
        for index, target in enumerate(targets):
            name = target.get("upstream") if isinstance(target, dict) else None
            if isinstance(name, str):
                yield ("models", model, "targets", index, "upstream"), name


def _check_key_names(layer: Layer) -> None:
    keys = layer.document.data.get("keys")
    first_of: dict[str, int] = {}
    for index, section in enumerate(keys if isinstance(keys, list) else ()):
        name = section.get("name") if isinstance(section, dict) else None
        if not isinstance(name, str):
            continue
        first = first_of.setdefault(name, index)
        left_out = any(layer.document.is_broken(("keys", one)) for one in (first, index))
        if first != index and left_out:
            _report(layer, ("keys", index, "name"), SAME_NAME)


def _report(layer: Layer, location: Location, message: str) -> None:
    """Report a problem inside an entry whose own problem is known already, unless it is this very value's."""
    if not layer.problems.known_at(layer.document.position(location)):
        layer.problems.add(layer.document.position(location), location, message)
