"""An upstream's answer to ``GET /v1/models``, read leniently: what can be understood of it, and nothing else.

Shapes: OpenAI's ``{"data": [{"id", "created", "owned_by", "shutdown_date"}]}``; a list without anything around it;
``{"models": [{"name"}]}``; names as plain texts in place of objects. Fields of the wrong type are as good as absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from gateway.core.json_weight import read_json
from gateway.core.listed_model import ListedModel, read_last_day, read_moment

MOST_MODELS = 5000
"""Models that are read of one list; the others are left out."""

LONGEST_NAME = 200
"""Characters of a model's name, or of its owner's."""

_LISTS = ("data", "models")
_NAMES = ("id", "name", "model")

_CREATED = range(1_000_000_000, 10_000_000_000)
"""Unix seconds that are believed, 2001 to 2286: zero is no date, and milliseconds are not seconds."""

_DAY = re.compile(r"(\d{4}-\d{2}-\d{2})(?:[T ].*)?", re.ASCII)


class ListPage(NamedTuple):
    """One page of a list. ``models``: each once, in its order. ``next``: what the next page follows; empty for none."""

    models: tuple[ListedModel, ...] = ()
    next: str = ""


def read_model_list(body: bytes) -> tuple[ListedModel, ...] | None:
    """The models that a body lists, each once, in its order; None if it is no list or names none."""
    return read_list_page(body).models or None


def read_list_page(body: bytes) -> ListPage:
    """A body that may be one page of a list (Anthropic's ``has_more``, ``last_id``)."""
    try:
        document = read_json(body)
    except ValueError:
        return ListPage()
    found: dict[str, ListedModel] = {}
    for model in _models(_entries(document)):
        found.setdefault(model.id, model)
        if len(found) >= MOST_MODELS:
            break
    more = isinstance(document, dict) and document.get("has_more") is True
    last = document.get("last_id") if more else None
    return ListPage(tuple(found.values()), _name(last))


def _entries(document: object) -> list[object]:
    if isinstance(document, dict):
        document = next((document[name] for name in _LISTS if isinstance(document.get(name), list)), None)
    return document if isinstance(document, list) else []


def _models(entries: list[object]) -> Iterator[ListedModel]:
    for entry in entries:
        fields = entry if isinstance(entry, dict) else {"id": entry}
        id = next((name for field in _NAMES if (name := _name(fields.get(field)))), "")
        if id:
            shutdown, ends_ns = _last_day(fields.get("shutdown_date"))
            yield ListedModel(
                id,
                _owner(fields.get("owned_by")),
                _created(fields.get("created") or read_moment(fields.get("created_at"))),
                shutdown,
                ends_ns,
            )


def _name(value: object) -> str:
    """A name that a request may carry: printable, without blanks, and no pattern; else empty."""
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_NAME or not value.isprintable():
        return ""
    return "" if " " in value or "*" in value else value


def _owner(value: object) -> str:
    return value if isinstance(value, str) and len(value) <= LONGEST_NAME and value.isprintable() else ""


def _created(value: object) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and value in _CREATED else None


def _last_day(value: object) -> tuple[str, int | None]:
    """The day of ``2027-01-14``, with or without a time behind it, and its end; nothing for every other value."""
    match = _DAY.fullmatch(value) if isinstance(value, str) else None
    return read_last_day(match[1]) if match is not None else ("", None)
