"""Schemas of the custom resources that the chart makes: what of them it uses, and nothing else.

Written from the resources' published references: monitoring.coreos.com/v1 (Prometheus operator) and keda.sh/v1alpha1.
What stands within a PrometheusRule is checked by promtool instead, what a trigger of KEDA is told by its own test.
"""

from __future__ import annotations

from typing import Any

TEXT = {"type": "string", "minLength": 1}
DURATION = {"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"}
LABELS = {"type": "object", "additionalProperties": {"type": "string"}}


def _object(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


def _resource(version: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = _object({"name": TEXT, "labels": LABELS}, annotations=LABELS)
    return _object({"apiVersion": {"const": version}, "kind": {"const": kind}, "metadata": metadata, "spec": spec})


_RULE = _object(
    {"expr": TEXT},
    **{
        "alert": TEXT,
        "record": TEXT,
        "for": DURATION,
        "keep_firing_for": DURATION,
        "labels": LABELS,
        "annotations": LABELS,
    },
)
_GROUP = _object({"name": TEXT, "rules": {"type": "array", "minItems": 1, "items": _RULE}}, interval=DURATION)

_SELECTOR = _object({"name": TEXT, "key": TEXT})
_ENDPOINT = _object(
    {"port": TEXT, "path": {"const": "/metrics"}},
    interval=DURATION,
    scrapeTimeout=DURATION,
    authorization=_object({"credentials": _SELECTOR}),
)
_MONITOR = _object(
    {
        "selector": _object({"matchLabels": LABELS}),
        "endpoints": {"type": "array", "minItems": 1, "items": _ENDPOINT},
    },
    jobLabel=TEXT,
    namespaceSelector=_object({"matchNames": {"type": "array", "items": TEXT}}),
)

_TARGET = _object({"name": TEXT}, apiVersion=TEXT, kind=TEXT)
_TRIGGER = _object(
    {"type": {"enum": ["prometheus", "cpu"]}, "metadata": LABELS},
    metricType={"enum": ["AverageValue", "Value", "Utilization"]},
)
_SCALED = _object(
    {"scaleTargetRef": _TARGET, "triggers": {"type": "array", "minItems": 1, "items": _TRIGGER}},
    minReplicaCount={"type": "integer", "minimum": 1},
    maxReplicaCount={"type": "integer", "minimum": 1},
    pollingInterval={"type": "integer", "minimum": 1},
    advanced=_object({"horizontalPodAutoscalerConfig": _object({"behavior": {"type": "object"}})}),
)

SCHEMAS = {
    "PrometheusRule": _resource(
        "monitoring.coreos.com/v1", "PrometheusRule", _object({"groups": {"type": "array", "items": _GROUP}})
    ),
    "ServiceMonitor": _resource("monitoring.coreos.com/v1", "ServiceMonitor", _MONITOR),
    "ScaledObject": _resource("keda.sh/v1alpha1", "ScaledObject", _SCALED),
}
"""Kind → schema."""
