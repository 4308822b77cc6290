"""A summary of a configuration: the models in force, and what a reload cannot change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gateway.config.rewrites import DROP
from gateway.config.settings import Config, Provenance
from gateway.core.pricing.price_text import describe_price as describe_price
from gateway.core.pricing.price_text import usd as usd
from gateway.core.types import Rewrites, Target

_STATES = ("on", "ended", "off")
"""Of a target, the best first."""


def describe_models(config: Config, now_ns: int) -> list[dict[str, Any]]:
    """One row a model, in the catalogue's order, ready for JSON.

    ``{"model", "state", "plan", "aliases", "context", "max_output", "notes", "targets": [{"upstream", "model",
    "operation", "state", "price", "source", "as_of", "confidence", "shutdown", "successor"}]}``. What is not known is
    None.

    ``state`` of a target is ``on``, ``off`` (no key for the upstream) or ``ended`` (its last day is over); a model's is
    the best of its targets'. ``price`` is None if unknown, else US dollars as decimal text under the names of the
    configuration file; what is unknown is left out. A target that gets chats otherwise than they came has ``rewrites``
    as well.

    ``now_ns``: Unix time.
    """
    rows = []
    for route in config.declared:
        sources = config.provenance[route.model]
        targets = [_target(*pair, now_ns) for pair in zip(route.targets, sources, strict=True)]
        states = {target["state"] for target in targets}
        rows.append(
            {
                "model": route.model,
                "state": next((state for state in _STATES if state in states), "off"),
                "plan": config.plans.get(route.model),
                "aliases": list(route.aliases),
                "context": route.context,
                "max_output": route.max_output,
                "notes": list(route.notes),
                "targets": targets,
            }
        )
    return rows


def _target(target: Target, provenance: Provenance, now_ns: int) -> dict[str, Any]:
    if not target.upstream.credentials:
        state = "off"
    else:
        state = "ended" if target.ends_ns is not None and target.ends_ns <= now_ns else "on"
    return {
        "upstream": target.upstream.name,
        "model": target.model,
        "operation": target.operation,
        "state": state,
        "price": describe_price(target.price),
        "source": provenance.source,
        "as_of": provenance.as_of,
        "confidence": provenance.confidence,
        "shutdown": target.shutdown or None,
        "successor": target.successor or None,
        **({"rewrites": _rewrites(target.rewrites)} if target.rewrites is not None else {}),
    }


def _rewrites(rewrites: Rewrites) -> dict[str, Any]:
    """As the configuration has them."""
    return {**dict(rewrites.renames), **({DROP: list(rewrites.drops)} if rewrites.drops else {})}


NEEDS_RESTART: Mapping[str, Callable[[Config], object]] = {
    "listen": lambda config: config.listen,
    "admin.listen": lambda config: config.admin.listen,
    "store": lambda config: config.store,
    "shared_state": lambda config: config.shared_state,
    "log": lambda config: config.log,
    "limits.headers": lambda config: config.limits.headers,
    "limits.in_flight": lambda config: config.limits.in_flight,
    "images": lambda config: config.images,
    "time_zone": lambda config: str(config.time_zone),
    "workers": lambda config: config.workers,
    "telemetry": lambda config: config.telemetry,
}
"""The settings a reload cannot change, as the file names them (a section stands for all its keys) → their value."""
