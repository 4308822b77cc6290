"""``piapi-gateway models``: the catalogue in force, with ends and prices."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gateway.cli.command import DONE, MODELS, add_command, as_json, config_in_force
from gateway.cli.output import say

if TYPE_CHECKING:
    from datetime import date

    from gateway.config import Config

SHOWN_DAYS = 90
"""Days ahead of a model's end from which on the table shows it."""

_COLUMNS = ("model", "upstream", "upstream_model", "operation", "state", "ends", "plan", "rewrites", "price_usd")
_DAY_NS = 86_400 * 10**9


def add_models_parser(commands: Any) -> None:
    """Add ``models`` to a parser's commands."""
    parser = add_command(
        commands, "models", models_command, "list the models in force, their targets in order, their ends and prices"
    )
    parser.add_argument("--format", choices=("table", "json", "csv"), default="table", help="default: %(default)s")
    parser.add_argument("--json", action="store_const", dest="format", const="json", help="the same as --format json")


def models_command(options: argparse.Namespace) -> int:
    """Print the catalogue."""
    from gateway.config import describe_models
    from gateway.runtime import today

    config, now_ns = config_in_force(options.config, MODELS), today.now_ns()
    rows = describe_models(config, now_ns)
    if options.format == "json":
        say(as_json(rows))
    elif options.format == "csv":
        say(models_csv(rows), end="")
    else:
        say(models_table(rows, now_ns))
        say("")
        say(_age(config, now_ns))
    return DONE


def models_table(rows: Sequence[Mapping[str, Any]], now_ns: int) -> str:
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
                    "ends": end_shown(target, now_ns),
                    "price_usd": _price(target["price"] or {}),
                    "plan": row["plan"] if place == 0 else "",
                    "rewrites": _rewrites(target.get("rewrites", {})),
                }
            )
    shown = [name for name in _COLUMNS if name != "rewrites" or any(line[name] for line in lines)]
    return render(lines, shown)


def _rewrites(rewrites: Mapping[str, Any]) -> str:
    """``max_tokens as max_completion_tokens, without stop``."""
    renamed = [f"{name} as {new}" for name, new in rewrites.items() if name != "drop"]
    return ", ".join([*renamed, *(f"without {name}" for name in rewrites.get("drop", ()))])


def models_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line a target, with a header: the JSON's columns; lists are joined by ``|``, a price stands in columns."""
    from gateway.cli.tables import as_csv

    about = ("model", "upstream", "upstream_model", "operation", "state", "shutdown", "successor")
    from gateway.core.pricing.price_text import AMOUNTS

    amounts = (*AMOUNTS, "minimum", "long", "tiers", "table", "picture_tokens", "estimated")
    whence = ("source", "as_of", "confidence", "plan", "aliases", "context", "max_output", "notes", "rewrites")
    return as_csv((*about, *amounts, *whence), _csv_lines(rows))


def end_shown(target: Mapping[str, Any], now_ns: int) -> str:
    """``ends 2027-01-14 → gpt-6-luna``, from ``SHOWN_DAYS`` ahead, ``ended …`` after it; else empty."""
    from datetime import date

    if target["shutdown"] is None:
        return ""
    day = now_ns // _DAY_NS
    days = (date.fromisoformat(target["shutdown"]) - date(1970, 1, 1)).days - day
    if days > SHOWN_DAYS:
        return ""
    successor = f" → {target['successor']}" if target["successor"] else ""
    return f"{'ended' if days < 0 else 'ends'} {target['shutdown']}{successor}"


def _csv_lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        of_model = {
            "plan": row["plan"],
            "aliases": "|".join(row["aliases"]),
            "context": row["context"],
            "max_output": row["max_output"],
            "notes": "|".join(row["notes"]),
        }
        for target in row["targets"]:
            price = target["price"] or {}
            nested = {name: _flat(value) for name, value in price.items()}
            rest = {name: value for name, value in target.items() if name not in ("price", "model", "rewrites")}
            rest["rewrites"] = _flat(target.get("rewrites", {}))
            yield {"model": row["model"], "upstream_model": target["model"], **rest, **nested, **of_model}


def _flat(value: Any) -> str:
    """A mapping as ``flex=0.5|fast=2``, with a dot between the names of two levels; a list as ``stop,user``; anything
    else as it is.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, Mapping):
        return str(value)
    parts = []
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            parts += [f"{name}.{key}={each}" for key, each in inner.items()]
        elif isinstance(inner, Sequence) and not isinstance(inner, str):
            parts.append(f"{name}={','.join(inner)}")
        else:
            parts.append(f"{name}={inner}")
    return "|".join(parts)


def _price(price: Mapping[str, Any]) -> str:
    if not price:
        return "unknown"
    from gateway.core.pricing.price_text import AMOUNTS

    parts = [f"{name} {price[name]}" for name in (*AMOUNTS, "minimum") if name in price]
    if "table" in price:
        amounts = [amount for sizes in price["table"].values() for amount in sizes.values()]
        parts.append(f"an image {min(amounts, key=float)} to {max(amounts, key=float)}")
    if "long" in price:
        long = price["long"]
        parts.append(f"above {long['above']} tokens ×{long['input']} and ×{long['output']}")
    parts += [f"{tier} ×{factor}" for tier, factor in price.get("tiers", {}).items()]
    return ", ".join(parts) + (" (estimated)" if price.get("estimated") else "")


def _age(config: Config, now_ns: int) -> str:
    """How old the prices are: the built-in ones, and those of a catalogue of one's own as far as it says."""
    from gateway.config import days_old

    def of(name: str, day: date | None) -> str:
        if day is None:
            return name
        days = days_old(day, now_ns)
        return f"{name} of {day} ({days} {'day' if days == 1 else 'days'} old)"

    own = f", {of(config.catalogue.name, config.catalogue_as_of)}" if config.catalogue is not None else ""
    return f"Prices: {of('built-in catalogue', config.prices_as_of)}{own}, and what your configuration sets."
