"""Every section and key of the configuration's schema, as plain data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from gateway.config.fields import Read, Section
from gateway.config.schema import FileSection


class Undocumented(Exception):
    """A section or key of the schema has no meaning or no example; the message says which."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a section. ``section``: the path of the section that is its value, or None.

    ``default``: as the gateway holds it; meaningless where ``required``. ``example``: YAML, or None for a section.
    """

    name: str
    kind: str
    unit: str
    required: bool
    default: Any
    meaning: str
    example: str | None
    section: str | None


@dataclass(frozen=True, slots=True)
class SectionFacts:
    """A section. ``path``: as in ``upstreams.NAME.endpoints[]``; empty for the top of the file."""

    model: type[Section]
    path: str
    meaning: str
    keys: tuple[Key, ...]

    def full(self, key: Key) -> str:
        """A key's own path."""
        return f"{self.path}.{key.name}" if self.path else key.name


def sections(model: type[Section] = FileSection, path: str = "") -> Iterator[SectionFacts]:
    """The section ``model`` at ``path`` and all below it, in the schema's order."""
    inner: list[tuple[type[Section], str]] = []
    keys = []
    for name, field in model.model_fields.items():
        below = _section_of(field.annotation)
        full = f"{path}.{name}" if path else name
        if below is not None:
            inner.append((below[0], full + below[1]))
        keys.append(_key(name, field, full, inner[-1][1] if below else None))
    yield SectionFacts(model, path, _meaning(model), tuple(keys))
    for section, place in inner:
        yield from sections(section, place)


def _key(name: str, field: FieldInfo, full: str, section: str | None) -> Key:
    if not field.description:
        raise Undocumented(f"{full} has no meaning: give its Field a description")
    if section is None and not field.examples:
        raise Undocumented(f"{full} has no example: give its Field examples=[…], as YAML")
    kind, unit = _kind(field.annotation, field.metadata)
    return Key(
        name=name,
        kind=kind,
        unit=unit,
        required=field.is_required(),
        default=None if field.is_required() else field.default,
        meaning=field.description,
        example=field.examples[0] if field.examples else None,
        section=section,
    )


def _meaning(model: type[Section]) -> str:
    text = model.__dict__.get("__doc__")
    if not text:
        raise Undocumented(f"{model.__name__} has no docstring to say what the section is")
    return " ".join(text.split())


def _section_of(annotation: Any) -> tuple[type[Section], str] | None:
    """The section inside an annotation, and what its path adds to the key's."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation, ""
    if origin is Annotated:
        return _section_of(arguments[0])
    if origin in (Union, UnionType):
        return next((found for part in arguments if (found := _section_of(part))), None)
    found = _section_of(arguments[-1]) if origin in (list, dict) else None
    if found is None:
        return None
    listed = origin is list or arguments[0] is int  # a list that the schema numbers
    return found[0], "[]" if listed else ".NAME"


def _kind(annotation: Any, metadata: list[Any]) -> tuple[str, str]:
    """What a type is called, and its unit."""
    for fact in metadata:
        if isinstance(fact, Read):
            return fact.kind, fact.unit
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return "section", ""
    if origin is Annotated:
        return _kind(arguments[0], list(arguments[1:]))
    if origin in (Union, UnionType):
        return next(_kind(part, []) for part in arguments if part is not NoneType)
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments)), ""
    if origin is list or (origin is dict and arguments[0] is int):
        kind, unit = _kind(arguments[-1], [])
        return f"list; each: {kind}", unit
    if origin is dict:
        kind, unit = _kind(arguments[1], [])
        return f"mapping; each: {kind}", unit
    if annotation is str:
        return "text", ""
    raise Undocumented(f"{annotation!r} has no name in the documentation: read it through a Read")
