"""The built-in catalogue, gateway/catalogue.yaml: the values that apply where the configuration file has none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from importlib.resources import files
from typing import Any

from pydantic import TypeAdapter

from gateway.config.document import read_document
from gateway.config.layer import Layer, check_document
from gateway.config.problems import Problems
from gateway.config.tree import Node, Table, read_tree
from gateway.config.upstream_schema import ModelSection
from gateway.config.values import day
from gateway.core.errors import ConfigError
from gateway.core.images.flux_catalogue import FluxFacts

FILE = "catalogue.yaml"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The content of the built-in catalogue.

    ``models``: the entries as in the file, each target with its source and date.
    ``flux``: the facts about Flux.
    ``as_of``: the day on which the prices were last looked through.
    """

    models: Mapping[str, ModelSection]
    flux: FluxFacts
    as_of: date


@cache
def load_catalogue() -> Catalogue:
    """The catalogue alone, without any environment. Raises ConfigError if the package's file is damaged."""
    problems = Problems()
    layer = builtin_layer({}, {}, problems)
    if problems:
        raise ConfigError(problems.lines())
    return Catalogue(layer.sections.models, flux_facts(), prices_as_of())


@cache
def flux_facts() -> FluxFacts:
    """The catalogue's facts about Flux on PiAPI."""
    facts = dict(read_document(_tree(), FILE, {}, Problems()).data["flux_facts"])
    del facts["source"], facts["as_of"]
    return TypeAdapter(FluxFacts).validate_python(facts)


@cache
def prices_as_of() -> date:
    """The day on which the catalogue's prices were last looked through."""
    return day(read_document(_tree(), FILE, {}, Problems()).data["as_of"])


def days_old(as_of: date, now_ns: int) -> int:
    """How many days ago ``as_of`` was, in UTC; 0 for today, and for a day to come."""
    return max(0, (datetime.fromtimestamp(now_ns // 1_000_000_000, UTC).date() - as_of).days)


def builtin_layer(
    environ: Mapping[str, str],
    given: Mapping[str, Any],
    problems: Problems,
    uses: frozenset[str] | None = None,
) -> Layer:
    """The catalogue's upstreams, models and admin key, without what the user's own data overrides.

    ``given``: the user's data. ``uses``: as in ``read_document``.

    Overridden values are not checked, so that an error in an environment variable that is not used has no effect.
    """
    models = _models()
    document = read_document(_rest(), FILE, environ, problems, uses)
    document.values |= models.document.values
    document.keys |= models.document.keys
    data = document.data
    data["models"] = models.document.data["models"]
    for name, upstream in _mapping(given.get("upstreams")).items():
        for field, value in _mapping(upstream).items():
            if value is not None:
                _mapping(data["upstreams"].get(name)).pop(field, None)
    if _mapping(given.get("admin")).get("key") is not None:
        del data["admin"]
    return check_document(document, problems, {"models": models.sections.models})


@cache
def _models() -> Layer:
    """The catalogue's models, which nothing around them can change: neither a variable nor the user's data is in them.

    They are most of the file. Read and checked once, they need not be whenever a configuration is read, which a reload
    does while requests are served.
    """
    problems = Problems()
    layer = check_document(read_document(_part("models"), FILE, {}, problems), problems)
    if problems:
        raise ConfigError(problems.lines())
    return layer


@cache
def _rest() -> Node | None:
    """The tree of what the environment and the user's data have a say in."""
    return _part("admin", "upstreams")


def _part(*keys: str) -> Node | None:
    root = _tree()
    if not isinstance(root, Table):
        return root
    return Table(root.position, [entry for entry in root.entries if entry.key in keys])


@cache
def _tree() -> Node | None:
    problems = Problems()
    root = read_tree(files("gateway").joinpath(FILE).read_text(encoding="utf-8"), FILE, problems)
    if problems:
        raise ConfigError(problems.lines())
    return root


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
