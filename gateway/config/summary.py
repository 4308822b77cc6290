"""A summary of a configuration for the command line: the models in force, and what cannot be served yet."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from gateway.config.settings import Config
from gateway.core.types import NANO_PER_USD, Price

_AMOUNTS = ("input", "cached_input", "output", "image_input", "image", "no_image")


def describe_models(config: Config) -> list[dict[str, Any]]:
    """One row a model, in the catalogue's order, ready for JSON.

    ``{"model", "state", "plan", "notes", "targets": [{"upstream", "model", "operation", "state", "price"}]}``.
    ``state`` is ``on`` or ``off`` (no key for the upstream, or for any of the model's). ``price`` is None if unknown,
    else US dollars as decimal text under the names of the configuration file; what is unknown is left out.
    """
    rows = []
    for route in config.declared:
        targets = [
            {
                "upstream": target.upstream.name,
                "model": target.model,
                "operation": target.operation,
                "state": "on" if target.upstream.credentials else "off",
                "price": describe_price(target.price),
            }
            for target in route.targets
        ]
        state = "on" if any(target["state"] == "on" for target in targets) else "off"
        rows.append(
            {
                "model": route.model,
                "state": state,
                "plan": config.plans.get(route.model),
                "notes": list(route.notes),
                "targets": targets,
            }
        )
    return rows


def describe_price(price: Price | None) -> dict[str, Any] | None:
    """A price in US dollars, as decimal text."""
    if price is None:
        return None
    described: dict[str, Any] = {name: usd(amount) for name in _AMOUNTS if (amount := getattr(price, name)) is not None}
    if price.table:
        described["table"] = {
            quality: {size: usd(amount) for size, amount in sizes.items()} for quality, sizes in price.table.items()
        }
    if price.minimum:
        described["minimum"] = usd(price.minimum)
    return described


def usd(nano: int) -> str:
    """Nano-dollars → dollars, exactly, without an exponent and without trailing zeros."""
    exact = f"{Decimal(nano) / NANO_PER_USD:.9f}".rstrip("0").rstrip(".")
    return exact or "0"


def unsupported(config: Config) -> list[str]:
    """The settings that this version cannot serve, one plain sentence each."""
    found = []
    if config.workers > 1:
        found.append(f"workers: {config.workers} is not supported yet; this version runs one process, so write 1.")
    if config.sqlite_path is None:
        found.append("store: PostgreSQL is not supported yet; write sqlite:///gateway.db or another SQLite file.")
    if config.shared_state != "memory://":
        found.append("shared_state: Redis is not supported yet; write memory://.")
    return found
