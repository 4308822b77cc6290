"""What to do about spend without a price: the lines that give the models one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway.billing.usage import UNPRICED
from gateway.core.pricing.price_lines import yaml_text

MOST_LINES = 5

_COUNTED = ("input tokens", "output tokens", "images")


def unpriced_advice(rows: Sequence[Mapping[str, Any]]) -> str:
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
    lines = sorted(set(_lines(rows)))
    told += [f"  {line}" for line in lines[:MOST_LINES]]
    if not lines:
        told.append("  Which ones: piapi-gateway usage --by model,upstream")
    elif len(lines) > MOST_LINES:
        told.append(f"  and {len(lines) - MOST_LINES} more: piapi-gateway usage --by model,upstream")
    return "\n".join(told)


def _lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """``gpt-9: {targets: [{upstream: piapi, price: {input: …, output: …}}]}``"""
    for row in rows:
        by_the_piece = row.get("unpriced_images", 0) and not row.get("unpriced_output_tokens", 0)
        price = "{image: …}" if by_the_piece else "{input: …, output: …}"
        for booked in row.get("prices", ()):
            if booked["unpriced_requests"]:
                name, model = row.get("model") or booked["model"], booked["model"]
                there = "" if name == model else f"model: {yaml_text(model)}, "
                upstream = yaml_text(booked["upstream"])
                yield f"{yaml_text(name)}: {{targets: [{{upstream: {upstream}, {there}price: {price}}}]}}"
