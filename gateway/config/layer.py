"""The check of a document against the schema: its valid part, and a problem at its position for everything wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway.config.document import Document
from gateway.config.environment import Substituted
from gateway.config.fields import Unknown
from gateway.config.problems import Location, Problems, did_you_mean
from gateway.config.schema import FileSection

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_NAMED_SECTIONS = frozenset({"upstreams", "models", "teams", "keys"})
_MESSAGES = {
    "dict_type": "expected a mapping, such as {name: value}",
    "model_type": "expected a mapping, such as {name: value}",
    "list_type": "expected a list, such as [a, b]",
    "too_short": "expected at least one entry",
}


@dataclass(frozen=True, slots=True)
class Layer:
    """The checked content of one file.

    ``sections``: the valid part of ``document``; the locations left out are in ``document.broken``.
    """

    sections: FileSection
    document: Document
    problems: Problems

    def report(self, location: Location, message: str) -> None:
        """Report a problem with a value, unless one was reported for it already."""
        if not self.document.is_broken(location):
            self.problems.add(self.document.position(location), location, message)

    def report_key(self, location: Location, message: str) -> None:
        """Report a problem in the same way, at the position of the mapping's key."""
        if not self.document.is_broken(location):
            self.problems.add(self.document.key_position(location), location, message)


def check_document(document: Document, problems: Problems, checked: Mapping[str, Any] = _NOTHING) -> Layer:
    """Validate a document. An entry with a problem is left out as a whole (an upstream, a model, a key, or a top-level
    value), so that the rest can still be checked and every problem is reported at once.

    ``checked``: settings of it, by name, that are sections already, from a check before this one.
    """
    data = {**document.data, **checked}
    while True:
        try:
            return Layer(FileSection.model_validate(data), document, problems)
        except ValidationError as error:
            details = error.errors(include_url=False)
            for detail in details:
                _report(document, problems, _location(detail), detail)
            for detail in details:
                _leave_out(data, _location(detail), document)


def _location(detail: ErrorDetails) -> Location:
    """pydantic's own location, without its mark for a mapping's key."""
    location = detail["loc"]
    return location[:-1] if _concerns_key(detail) else location


def _concerns_key(detail: ErrorDetails) -> bool:
    """Whether a mapping's key is wrong, rather than its value or its absence."""
    location = detail["loc"]
    return len(location) > 2 and location[-1] == "[key]" and detail["type"] != "extra_forbidden"


def _report(document: Document, problems: Problems, location: Location, detail: ErrorDetails) -> None:
    if document.is_broken(location):
        return
    is_key = detail["type"] == "extra_forbidden" or _concerns_key(detail)
    position = document.key_position(location) if is_key else document.position(location)
    problems.add(position, location, _message(detail, str(location[-1])))


def _message(detail: ErrorDetails, last: str) -> str:
    kind, value = detail["type"], detail["input"]
    if kind == "extra_forbidden" and isinstance(value, Unknown):
        return f"unknown key; {did_you_mean(last, value.known)}"
    if kind == "missing":
        return "is missing; give it a value"
    if kind == "value_error":
        message = str(detail["ctx"]["error"])
    elif kind == "literal_error":
        message = f"expected {detail['ctx']['expected'].replace(chr(39), '')}"
    else:
        message = _MESSAGES.get(kind, detail["msg"])
    if isinstance(value, Substituted):
        message += f" (it comes from {', '.join(value.names)})"
    return message


def _leave_out(data: dict[str, Any], location: Location, document: Document) -> None:
    """Remove the entry around ``location`` from ``data``, which is copied as far as it changes."""
    top = str(location[0])
    section = data.get(top)
    if top in _NAMED_SECTIONS and len(location) > 1 and isinstance(section, dict | list):
        # A list is numbered first: taking an entry out must not shift the others.
        rest = dict(enumerate(section)) if isinstance(section, list) else dict(section)
        rest.pop(location[1], None)
        data[top] = rest
        document.broken.add(location[:2])
    else:
        data.pop(top, None)
        document.broken.add((top,))
