"""A summary of a configuration: the models in force, what cannot be served yet, what a reload cannot change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from gateway.config.rewrites import DROP
from gateway.config.settings import Config
from gateway.core.types import FACTOR_UNIT, NANO_PER_USD, Price, Rewrites

_AMOUNTS = (
    "input",
    "cached_input",
    "cache_write",
    "output",
    "image_input",
    "image_output",
    "audio_input",
    "audio_output",
    "image",
    "no_image",
    "call",
)


def describe_models(config: Config) -> list[dict[str, Any]]:
    """One row a model, in the catalogue's order, ready for JSON.

    ``{"model", "state", "plan", "notes", "targets": [{"upstream", "model", "operation", "state", "price"}]}``.
    ``state`` is ``on`` or ``off`` (no key for the upstream, or for any of the model's). ``price`` is None if unknown,
    else US dollars as decimal text under the names of the configuration file; what is unknown is left out. A target
    that gets chats otherwise than they came has ``rewrites`` as well.
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
                **({"rewrites": _rewrites(target.rewrites)} if target.rewrites is not None else {}),
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
    if price.picture_tokens:
        described["picture_tokens"] = dict(price.picture_tokens)
    if price.long is not None:
        long = price.long
        described["long"] = {"above": long.above, "input": _times(long.input), "output": _times(long.output)}
    if price.tiers:
        described["tiers"] = {tier: _times(factor) for tier, factor in price.tiers.items()}
    if price.minimum:
        described["minimum"] = usd(price.minimum)
    if price.estimated:
        described["estimated"] = True
    return described


def _rewrites(rewrites: Rewrites) -> dict[str, Any]:
    """As the configuration has them."""
    return {**dict(rewrites.renames), **({DROP: list(rewrites.drops)} if rewrites.drops else {})}


def _times(factor: int) -> str:
    """Thousandths → how many times, without trailing zeros."""
    return f"{Decimal(factor) / FACTOR_UNIT:f}"


def usd(nano: int) -> str:
    """Nano-dollars → dollars, exactly, without an exponent and without trailing zeros."""
    exact = f"{Decimal(nano) / NANO_PER_USD:.9f}".rstrip("0").rstrip(".")
    return exact or "0"


@dataclass(frozen=True, slots=True)
class Unserved:
    """A setting that the file may hold but this version cannot serve.

    ``key``: its name, at the top of the file.
    ``values``: the values that cannot be served, for the documentation.
    ``asked_for``: the value of this kind that a configuration has; None if it has none.
    ``instead``: what to write.
    """

    key: str
    values: str
    asked_for: Callable[[Config], str | None]
    instead: str


UNSERVED = (
    Unserved(
        "workers",
        "more than 1",
        lambda config: str(config.workers) if config.workers > 1 else None,
        "this version runs one process, so write 1",
    ),
    Unserved(
        "store",
        "PostgreSQL",
        lambda config: "PostgreSQL" if config.sqlite_path is None else None,
        "write sqlite:///gateway.db or another SQLite file",
    ),
    Unserved(
        "shared_state",
        "Redis",
        lambda config: "Redis" if config.shared_state != "memory://" else None,
        "write memory://",
    ),
)
"""The settings that ``serve`` and the commands refuse and docs/configuration.md marks."""


def unsupported(config: Config) -> list[str]:
    """The settings of this configuration that this version cannot serve, one plain sentence each."""
    return [
        f"{one.key}: {what} is not supported yet; {one.instead}."
        for one in UNSERVED
        if (what := one.asked_for(config)) is not None
    ]


NEEDS_RESTART: Mapping[str, Callable[[Config], object]] = {
    "listen": lambda config: config.listen,
    "admin.listen": lambda config: config.admin.listen,
    "store": lambda config: config.store,
    "log": lambda config: config.log,
    "limits.headers": lambda config: config.limits.headers,
    "limits.in_flight": lambda config: config.limits.in_flight,
    "images": lambda config: config.images,
    "time_zone": lambda config: str(config.time_zone),
}
"""The settings a reload cannot change, as the file names them (a section stands for all its keys) → their value."""
