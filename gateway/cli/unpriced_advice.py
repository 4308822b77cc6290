"""What to do about spend without a price: the lines that give the models one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gateway.billing.usage import UNPRICED
from gateway.core.pricing.price_lines import yaml_text

MOST_LINES = 5

_COUNTED = ("input tokens", "output tokens", "images")


Relayed = Callable[[str], Sequence[str]]
"""The upstreams that a model is relayed to, in order; none for a model that has targets of its own."""


def nowhere(model: str) -> Sequence[str]:
    """The ``Relayed`` of who relays nothing."""
    return ()


def unpriced_advice(rows: Sequence[Mapping[str, Any]], relayed: Relayed = nowhere) -> str:
    """Below a table of usage: what its ``unpriced`` column means and which lines end it; empty if there is none.

    ``rows``: as the JSON output has them; those of an earlier version tell nothing of it.
    """
    requests, *used = (sum(row.get(name, 0) for row in rows) for name in UNPRICED)
    if not requests:
        return ""
    counted = ", ".join(f"{number:,} {name}" for number, name in zip(used, _COUNTED, strict=True) if number)
    what = f"{requests:,} {'request' if requests == 1 else 'requests'}{f' ({counted})' if counted else ''}"
    told = [
        f"unpriced: {what} served at no known price. What that costs is in no figure here, and no budget stops it.",
        "Give their models a price under 'models' in the configuration, then reload. What is booked already stays.",
    ]
    lines = _lines(rows, relayed)
    told += [f"  {line}" for line in lines[:MOST_LINES]]
    if not lines:
        told.append("  Which ones: piapi-gateway usage --by model,upstream")
    elif len(lines) > MOST_LINES:
        told.append(f"  and {len(lines) - MOST_LINES} more: piapi-gateway usage --by model,upstream")
    return "\n".join(told)


def _lines(rows: Sequence[Mapping[str, Any]], relayed: Relayed) -> list[str]:
    """``gpt-9: {targets: [{upstream: piapi, price: {input: …, output: …}}]}``

    One line a model, since a second one of that name would be a duplicate key, with all upstreams that it is relayed
    to, since only those of the line will be asked. Of other models the target used most stands first.
    """
    models: dict[str, dict[str, int]] = {}
    for row in rows:
        by_the_piece = row.get("unpriced_images", 0) and not row.get("unpriced_output_tokens", 0)
        price = "{image: …}" if by_the_piece else "{input: …, output: …}"
        for booked in row.get("prices", ()):
            if booked["unpriced_requests"]:
                name, model = row.get("model") or booked["model"], booked["model"]
                there = "" if name == model else f"model: {yaml_text(model)}, "
                target = f"{{upstream: {yaml_text(booked['upstream'])}, {there}price: {price}}}"
                others = [f"{{upstream: {yaml_text(one)}, price: {price}}}" for one in relayed(name)]
                targets = models.setdefault(name, dict.fromkeys(others, 0))
                targets[target] = targets.get(target, 0) + booked["unpriced_requests"]
    return [
        f"{yaml_text(name)}: {{targets: [{', '.join(targets if relayed(name) else _by_use(targets))}]}}"
        for name, targets in sorted(models.items())
    ]


def _by_use(targets: Mapping[str, int]) -> list[str]:
    return sorted(targets, key=lambda one: (-targets[one], one))
