"""The chart, rendered by Helm's own library (the development requirement helm-python-sdk), for the tests."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.dashboards.prometheus import DEPLOY

CHART = DEPLOY / "helm" / "piapi-gateway"
VALUES = sorted((Path(__file__).parent / "values").glob("*.yaml"))
RELEASE, NAMESPACE, NAME = "demo", "prod", "demo-piapi-gateway"

needs_helm = pytest.mark.skipif(
    importlib.util.find_spec("helm_python") is None,
    reason="helm-python-sdk has no wheel for this machine: THE CHART WAS NOT RENDERED",
)

Document = dict[str, Any]


def values_of(path: Path) -> Document:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


def render(values: Document, chart: Path = CHART) -> dict[str, str]:
    """Template → text. Raises HelmRenderError, HelmValuesError."""
    import helm_python

    with helm_python.Chart.load(chart) as loaded:
        loaded.validate_schema(values)
        return loaded.render(values, name=RELEASE, namespace=NAMESPACE)


@cache
def rendered(path: Path) -> tuple[Document, ...]:
    """Every document that the chart makes of a file of values."""
    texts = render(values_of(path))
    found = [
        document
        for template, text in sorted(texts.items())
        if template.endswith(".yaml")
        for document in yaml.safe_load_all(text)
        if document
    ]
    assert found
    return tuple(found)


def only(documents: tuple[Document, ...], kind: str, name: str | None = None) -> Document:
    """The one of its kind (and name)."""
    [found] = [each for each in documents if each["kind"] == kind and name in (None, each["metadata"]["name"])]
    return found


def pods(documents: tuple[Document, ...]) -> list[Document]:
    """The specification of every pod that comes of them."""
    found = []
    for each in documents:
        if each["kind"] == "Pod":
            found.append(each["spec"])
        elif each["kind"] in ("Deployment", "Job"):
            found.append(each["spec"]["template"]["spec"])
    return found
