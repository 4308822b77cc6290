"""A catalogue of one's own: the file that the setting ``catalogue`` names.

Its models come on top of the built-in ones, name by name, and below those of the configuration itself. It has the shape
of the built-in catalogue, ``models:`` and ``as_of:`` for the day of its prices; or the models alone, without a heading.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from gateway.config import values
from gateway.config.document import Document, read_document
from gateway.config.files import read_text
from gateway.config.layer import Layer, check_document
from gateway.config.paths import beside_file, folder_of
from gateway.config.problems import Location, Problems, did_you_mean
from gateway.config.tree import Node, Scalar, Table, TableEntry, read_tree

_SETTING: Location = ("catalogue",)
_MODELS, _AS_OF = "models", "as_of"
_BUILT_IN_ONLY = frozenset({"admin", "upstreams", "flux_facts"})
"""Sections of the built-in catalogue that a copy of it may hold, too, but that are not read from there."""


@dataclass(frozen=True, slots=True)
class OwnCatalogue:
    """The file, checked.

    ``path``: None for none.
    ``layer``: its models alone.
    ``as_of``: the day of its prices; None if it does not say.
    ``warnings``: what in it has no effect.
    """

    layer: Layer
    path: Path | None = None
    as_of: date | None = None
    warnings: tuple[str, ...] = field(default=())


def own_catalogue(
    user: Layer, source: Path | None, environ: Mapping[str, str], problems: Problems, *, again: bool = False
) -> OwnCatalogue:
    """The catalogue that the configuration in ``source`` names; an empty one if it names none, or no model is used.

    Problems are at the file's own lines; one that cannot be read is a problem of the setting. ``again``: see ``load``.
    """
    named = user.sections.catalogue
    if not named or not user.document.used("models"):
        return OwnCatalogue(check_document(Document(""), problems))
    path = beside_file(named, folder_of(source))
    file = str(path)
    text = read_text(path, problems, user.document.position(_SETTING), _SETTING, again=again)
    root = None if text is None else read_tree(text, file, problems)
    if root is not None and not isinstance(root, Table) and not (isinstance(root, Scalar) and root.value() is None):
        problems.add(root.position, (), "the file must be a mapping of models, such as gpt-4o: {targets: [...]}")
        root = None
    left_out: list[str] = []
    document = read_document(_shaped(root, problems, left_out), file, environ, problems)
    as_of = _day(document, problems)
    warnings = tuple(f"{file}: '{name}' has no effect; a catalogue of one's own has models" for name in left_out)
    return OwnCatalogue(check_document(document, problems), path, as_of, warnings)


def _shaped(root: Node | None, problems: Problems, left_out: list[str]) -> Node | None:
    """The tree with its models under ``models``, and nothing beside them but ``as_of``."""
    if not isinstance(root, Table):
        return root
    if not any(entry.key == _MODELS and not entry.merge for entry in root.entries):
        models = Table(root.position, [entry for entry in root.entries if entry.key != _AS_OF])
        dates = [entry for entry in root.entries if entry.key == _AS_OF]
        return Table(root.position, [TableEntry(_MODELS, root.position, False, models), *dates])
    kept = []
    for entry in root.entries:
        if entry.key in (_MODELS, _AS_OF):
            kept.append(entry)
        elif entry.key in _BUILT_IN_ONLY:
            left_out.append(entry.key)
        else:
            hint = did_you_mean(entry.key, (_MODELS, _AS_OF))
            problems.add(entry.key_position, (entry.key,), f"unknown key; {hint}")
    return Table(root.position, kept)


def _day(document: Document, problems: Problems) -> date | None:
    """The value of ``as_of``, taken out of the document."""
    given = document.data.pop(_AS_OF, None)
    location: Location = (_AS_OF,)
    if given is None or document.is_broken(location):
        return None
    try:
        return values.day(given)
    except ValueError as error:
        problems.add(document.position(location), location, str(error))
        return None
