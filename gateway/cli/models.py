"""``piapi-gateway models``: the catalogue in force."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.cli.command import DONE, add_command, as_json, config_in_force

_PRICES = ("input", "cached_input", "output", "image_input", "image", "no_image", "minimum")


def add_models_parser(commands: Any) -> None:
    """Add ``models`` to a parser's commands."""
    parser = add_command(
        commands, "models", models_command, "list the models in force, their targets in order and their prices"
    )
    parser.add_argument("--json", action="store_true", help="for scripts")


def models_command(options: argparse.Namespace) -> int:
    """Print the catalogue."""
    from gateway.config import describe_models

    rows = describe_models(config_in_force(options.config))
    print(as_json(rows) if options.json else models_table(rows))
    return DONE


def models_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line a target; token prices are US dollars per 1M tokens, the others US dollars apiece."""
    from gateway.cli.tables import render

    lines = []
    for row in rows:
        for place, target in enumerate(row["targets"]):
            lines.append(
                {
                    "model": row["model"] if place == 0 else "",
                    "upstream": target["upstream"],
                    "upstream_model": target["model"],
                    "operation": target["operation"],
                    "state": target["state"],
                    "price_usd": _price(target["price"] or {}),
                    "plan": row["plan"] if place == 0 else "",
                }
            )
    return render(lines, ("model", "upstream", "upstream_model", "operation", "state", "price_usd", "plan"))


def _price(price: Mapping[str, Any]) -> str:
    if not price:
        return "unknown"
    parts = [f"{name} {price[name]}" for name in _PRICES if name in price]
    if "table" in price:
        amounts = [amount for sizes in price["table"].values() for amount in sizes.values()]
        parts.append(f"an image {min(amounts, key=float)} to {max(amounts, key=float)}")
    return ", ".join(parts)
