"""A tree of nodes → plain data, with substitutions made, aliases and merges expanded, and every position kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.config.environment import references, substitute
from gateway.config.problems import Location, Position, Problems
from gateway.config.tree import MAX_YAML_DEPTH, Listing, Node, Scalar, Table, TableEntry
from gateway.config.values import secret

MAX_NODES = 200_000
"""Aliases can make a small file expand without end; https://en.wikipedia.org/wiki/Billion_laughs_attack."""


@dataclass(slots=True)
class Document:
    """The plain data of one file, with the position of every value.

    ``data``: dicts, lists, text, int, bool, Decimal and None; text from the environment is ``Substituted``.
    ``values``, ``keys``: the positions of values and of mappings' keys.
    ``broken``: locations whose problem is already reported, or does not matter, so that no other is reported for them.
    ``uses``: the settings at the top of the file that are asked for, None for all: see ``environment.py``.
    ``variables``: those of the environment that the file names.
    """

    file: str
    data: dict[str, Any] = field(default_factory=dict)
    values: dict[Location, Position] = field(default_factory=dict)
    keys: dict[Location, Position] = field(default_factory=dict)
    broken: set[Location] = field(default_factory=set)
    uses: frozenset[str] | None = None
    variables: dict[str, None] = field(default_factory=dict)

    def used(self, name: str) -> bool:
        """Whether a setting at the top of the file is asked for."""
        return self.uses is None or name in self.uses

    def uses_value(self, location: Location) -> bool:
        """Whether a value is asked for. Who does not ask for everything asks for virtual keys' names, never for the
        keys.
        """
        if self.uses is None or not location:
            return True
        return location[0] in self.uses and not (location[0] == "keys" and _is_secret(location))

    def replace(self, location: tuple[str], value: str, origin: str) -> None:
        """Put another value in the place of one at the top. ``origin``: where it is from, such as an option's name."""
        name = location[0]
        self.data[name] = value
        self.values[location] = self.keys[location] = Position(origin, 0, 0)
        self.broken.discard(location)

    def position(self, location: Location) -> Position:
        """The position of a value; if it is not in the file, that of what should contain it."""
        while location:
            if location in self.values:
                return self.values[location]
            location = location[:-1]
        return self.values.get((), Position(self.file))

    def key_position(self, location: Location) -> Position:
        """The position of a mapping's key."""
        return self.keys.get(location) or self.position(location)

    def is_broken(self, location: Location) -> bool:
        """Whether ``location`` or something that contains it has been reported."""
        return any(location[:end] in self.broken for end in range(len(location) + 1))


class _Overflow(Exception):
    """Raised when the expansion exceeds a bound at ``location``."""

    def __init__(self, location: Location) -> None:
        super().__init__()
        self.location = location


def read_document(
    root: Node | None,
    file: str,
    environ: Mapping[str, str],
    problems: Problems,
    uses: frozenset[str] | None = None,
) -> Document:
    """Expand a tree. An empty file is an empty mapping; any other root than a mapping is a problem.

    ``uses``: the settings that are asked for; what the environment says of others is no problem. None for all.
    """
    document = Document(file, uses=uses)
    if root is None or (isinstance(root, Scalar) and root.value() is None):
        return document
    if not isinstance(root, Table):
        problems.add(root.position, (), "the file must be a mapping, such as 'listen: 127.0.0.1:8400'")
        return document
    try:
        document.data = _Expansion(document, environ, problems).table(root, ())
    except _Overflow as overflow:
        problems.add(
            document.position(overflow.location), overflow.location, "aliases make the file too deep or too big"
        )
    return document


class _Expansion:
    """The expansion of one file's tree."""

    def __init__(self, document: Document, environ: Mapping[str, str], problems: Problems) -> None:
        self._document = document
        self._environ = environ
        self._problems = problems
        self._nodes = 0

    def table(self, table: Table, location: Location) -> dict[str, Any]:
        self._document.values[location] = table.position
        result: dict[str, Any] = {}
        for entry in table.entries:
            if not entry.merge:
                self._enter(entry, result, location)
        self._merge(table, result, location, depth=0)
        return result

    def _merge(self, table: Table, into: dict[str, Any], location: Location, depth: int) -> None:
        """Add, from the mappings under ``<<``, the keys that ``into`` does not have yet.
        https://yaml.org/type/merge.html
        """
        self._count(location, depth)
        for merge in table.entries:
            if not merge.merge:
                continue
            for source in merge.node.items if isinstance(merge.node, Listing) else [merge.node]:
                if not isinstance(source, Table):
                    self._problems.add(source.position, (*location, "<<"), "only mappings can be merged")
                    continue
                for entry in source.entries:
                    if not entry.merge and entry.key not in into:
                        self._enter(entry, into, location)
                self._merge(source, into, location, depth + 1)

    def _enter(self, entry: TableEntry, into: dict[str, Any], location: Location) -> None:
        self._document.keys[*location, entry.key] = entry.key_position
        into[entry.key] = self._value(entry.node, (*location, entry.key))

    def _value(self, node: Node, location: Location) -> Any:
        self._count(location, len(location))
        self._document.values[location] = node.position
        if isinstance(node, Scalar):
            return self._scalar(node, location)
        if isinstance(node, Listing):
            return [self._value(item, (*location, index)) for index, item in enumerate(node.items)]
        return self.table(node, location)

    def _count(self, location: Location, depth: int) -> None:
        self._nodes += 1
        if depth > MAX_YAML_DEPTH or self._nodes > MAX_NODES:
            raise _Overflow(location)

    def _scalar(self, scalar: Scalar, location: Location) -> Any:
        value = scalar.value()
        if not isinstance(value, str):
            return value
        self._document.variables |= dict.fromkeys(references(value))
        try:
            if references(value) and not self._document.uses_value(location):
                return self._unused(value, location)
            return substitute(value, self._environ)
        except ValueError as error:
            self._problems.add(scalar.position, location, str(error))
            self._document.broken.add(location)
            return None

    def _unused(self, value: str, location: Location) -> str:
        """What stands for a value that will not be used: the environment's, if there is one; no problem in any case."""
        self._document.broken.add(location)
        filled = substitute(value, _Forgiving(self._environ))
        if not _is_secret(location):
            return filled or ("https://not-set.invalid" if location[-1] == "url" else "")
        try:
            found = secret(filled)
        except ValueError:
            found = ""
        # A virtual key must not be empty, nor equal to another; its name may well be asked for.
        return found or (f"not-set-{location[1]}" if location[0] == "keys" else "")


class _Forgiving(dict[str, str]):
    """An environment in which everything is set."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__(environ)

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name, "")


def _is_secret(location: Location) -> bool:
    if location[0] == "upstreams":
        return len(location) > 3 and location[2] == "keys" and location[4:] in ((), ("value",))
    return location[-1] in ("key", "secret", "webhook_secret") and location[0] in (
        *("keys", "admin", "budget_alerts", "webhook_secret"),
    )
