"""The built-in catalogue, gateway/catalogue.yaml: what holds where the configuration file says nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from pydantic import TypeAdapter

from gateway.config.document import read_document
from gateway.config.layer import Layer, check
from gateway.config.problems import Problems
from gateway.config.tree import Node, read_tree
from gateway.config.upstream_schema import ModelSection
from gateway.core.errors import ConfigError
from gateway.core.images.flux_catalogue import FluxFacts

FILE = "catalogue.yaml"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """``models``: the entries as the file has them, each target with its source and date. ``flux``: facts."""

    models: Mapping[str, ModelSection]
    flux: FluxFacts


@cache
def load_catalogue() -> Catalogue:
    """The catalogue alone, without any environment. Raises ConfigError if the package's file is damaged."""
    problems = Problems()
    layer = builtin_layer({}, {}, problems)
    if problems:
        raise ConfigError(problems.lines())
    return Catalogue(layer.sections.models, flux_facts())


@cache
def flux_facts() -> FluxFacts:
    """What the catalogue knows of Flux on PiAPI."""
    facts = dict(read_document(_tree(), FILE, {}, Problems()).data["flux_facts"])
    del facts["source"], facts["as_of"]
    return TypeAdapter(FluxFacts).validate_python(facts)


def builtin_layer(environ: Mapping[str, str], given: Mapping[str, Any], problems: Problems) -> Layer:
    """The catalogue's upstreams, models and admin key, less what ``given``, the user's data, says itself.

    What is overridden is not looked at, so that nothing wrong in the environment matters that is not used.
    """
    document = read_document(_tree(), FILE, environ, problems)
    data = document.data
    del data["flux_facts"]
    for name, upstream in _mapping(given.get("upstreams")).items():
        for field, value in _mapping(upstream).items():
            if value is not None:
                _mapping(data["upstreams"].get(name)).pop(field, None)
    if _mapping(given.get("admin")).get("key") is not None:
        del data["admin"]
    return check(document, problems)


@cache
def _tree() -> Node | None:
    problems = Problems()
    root = read_tree(files("gateway").joinpath(FILE).read_text(encoding="utf-8"), FILE, problems)
    if problems:
        raise ConfigError(problems.lines())
    return root


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
