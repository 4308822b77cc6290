"""YAML text → a tree of nodes that know their positions.

Built from the parser's events rather than by a loader, because a loader loses duplicate keys, positions and the
scalars' own text, and money must never pass through a binary float. Scalars mean what YAML 1.2 says, so that ``no`` is
text and ``1:30`` is not ninety. https://yaml.org/spec/1.2.2/#103-core-schema
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal

import yaml

from gateway.config.problems import Location, Position, Problems

MAX_YAML_DEPTH = 40

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_WHOLE = re.compile(r"[-+]?[0-9][0-9_]{0,30}")
_DECIMAL = re.compile(r"[-+]?(?:[0-9]{1,30}\.?[0-9]{0,30}|\.[0-9]{1,30})(?:[eE][-+]?[0-9]{1,3})?")
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CORE_TAGS = frozenset(
    {None, "!", *(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map"))}
)


@dataclass(slots=True)
class Scalar:
    """A YAML scalar.

    ``plain``: written without quotes.
    """

    position: Position
    text: str
    plain: bool

    def value(self) -> str | int | bool | Decimal | None:
        """The value that the scalar stands for. Whole numbers may hold underscores; text of no core type stays text."""
        text = self.text
        if not self.plain:
            return text
        if text in _NULL:
            return None
        if text in _BOOLEANS:
            return _BOOLEANS[text]
        if _WHOLE.fullmatch(text):
            return int(text.replace("_", ""))
        return Decimal(text) if _DECIMAL.fullmatch(text) else text


@dataclass(slots=True)
class TableEntry:
    """A key and its value in a YAML mapping.

    ``merge``: the key is YAML's ``<<``, which merges other mappings into this one.
    """

    key: str
    key_position: Position
    merge: bool
    node: Node


@dataclass(slots=True)
class Table:
    """A YAML mapping. Keys are always text; each occurs once, except ``<<``, which may repeat."""

    position: Position
    entries: list[TableEntry] = field(default_factory=list)


@dataclass(slots=True)
class Listing:
    """A YAML sequence."""

    position: Position
    items: list[Node] = field(default_factory=list)


Node = Scalar | Table | Listing


def read_tree(text: str, file: str, problems: Problems) -> Node | None:
    """The document's root, or None if it is empty or not YAML (then ``problems`` says why)."""
    if (bad := _UNPRINTABLE.search(text)) is not None:
        before = text[: bad.start()]
        position = Position(file, before.count("\n") + 1, bad.start() - before.rfind("\n"))
        problems.add(position, (), f"the character U+{ord(bad.group()):04X} is not allowed in YAML")
        return None
    builder = _Builder(file, problems)
    try:
        for event in yaml.parse(text, Loader=_Loader):
            if not builder.feed(event):
                return None
    except yaml.MarkedYAMLError as error:
        problems.add(_error_position(error, file), (), _syntax_message(error, text))
        return None
    except yaml.YAMLError:
        problems.add(Position(file), (), "not valid YAML")
        return None
    return builder.root


def _error_position(error: yaml.MarkedYAMLError, file: str) -> Position:
    mark = error.problem_mark or error.context_mark
    return Position(file, mark.line + 1, mark.column + 1) if mark else Position(file)


def _syntax_message(error: yaml.MarkedYAMLError, text: str) -> str:
    """The parser's message, and the most common cause."""
    words = ", ".join(part for part in (error.context, error.problem) if part)
    mark = error.problem_mark
    lines = text.splitlines()
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    hint = ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        hint = ". YAML allows no tab in the indentation: use spaces"
    elif "${" in line:
        hint = '. Inside [ ] and { }, quote the reference: "${NAME}"'
    return f"not valid YAML: {words}{hint}"


@dataclass(slots=True)
class _Open:
    """A collection under construction.

    ``key``: in a table, the key whose value comes next; None before a key.
    """

    node: Table | Listing
    anchor: str | None
    key: Scalar | None = None
    discard: bool = False
    first_lines: dict[str, int] = field(default_factory=dict)


class _Builder:
    """Builds the tree from the parser's events. It keeps its own stack, so that nesting cannot exhaust Python's."""

    def __init__(self, file: str, problems: Problems) -> None:
        self.root: Node | None = None
        self._file = file
        self._problems = problems
        self._stack: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._documents = 0

    def feed(self, event: yaml.Event) -> bool:
        """Take one event. False if parsing must stop."""
        mark = event.start_mark
        position = Position(self._file, mark.line + 1, mark.column + 1) if mark else Position(self._file)
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._problems.add(position, (), "a second document begins here; the file may hold only one")
                return False
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event.anchor, position)
        elif isinstance(event, yaml.ScalarEvent):
            self._check_tag(event.tag, position)
            scalar = Scalar(position, event.value, plain=bool(event.implicit[0]))
            if event.anchor:
                self._anchors[event.anchor] = scalar
            self._put(scalar)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._check_tag(event.tag, position)
            if len(self._stack) >= MAX_YAML_DEPTH:
                self._problems.add(position, self._location(), f"nested deeper than {MAX_YAML_DEPTH} levels")
                return False
            node = Table(position) if isinstance(event, yaml.MappingStartEvent) else Listing(position)
            self._stack.append(_Open(node, event.anchor))
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            closed = self._stack.pop()
            if closed.anchor:  # bound only now, so that no node can contain itself
                self._anchors[closed.anchor] = closed.node
            self._put(closed.node)
        return True

    def _location(self) -> Location:
        """The location of the next node."""
        return tuple(
            len(open_.node.items) if isinstance(open_.node, Listing) else open_.key.text if open_.key else ""
            for open_ in self._stack
        )

    def _check_tag(self, tag: str | None, position: Position) -> None:
        if tag not in _CORE_TAGS:
            self._problems.add(position, self._location(), "YAML tags have no meaning here; leave it out")

    def _alias(self, anchor: str | None, position: Position) -> None:
        node = self._anchors.get(anchor or "")
        if node is None:
            self._problems.add(position, self._location(), f"no anchor &{anchor} is complete above this alias")
            node = Scalar(position, "", plain=True)
        self._put(node)

    def _put(self, node: Node) -> None:
        if not self._stack:
            self.root = node
            return
        top = self._stack[-1]
        if isinstance(top.node, Listing):
            top.node.items.append(node)
        elif top.key is not None:
            self._put_value(top, top.node, top.key, node)
        elif isinstance(node, Scalar):
            top.key = node
        else:
            self._problems.add(node.position, self._location()[:-1], "a key must be text")
            top.key, top.discard = Scalar(node.position, "", plain=True), True

    def _put_value(self, top: _Open, table: Table, key: Scalar, node: Node) -> None:
        merge = key.plain and key.text == "<<"
        first = None if merge or top.discard else top.first_lines.get(key.text)
        if first is not None:
            self._problems.add(key.position, self._location(), f"duplicate key; it is already on line {first}")
            top.discard = True
        if not top.discard:
            top.first_lines[key.text] = key.position.line
            table.entries.append(TableEntry(key.text, key.position, merge, node))
        top.key, top.discard = None, False
