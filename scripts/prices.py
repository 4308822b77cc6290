"""Propose changes to the catalogue's prices from genai-prices' data: python -m scripts.prices (make prices).

It compares what gateway/catalogue.yaml says of every target that is billed at the vendor's list price with the data of
the installed genai-prices, and prints where they differ, and which models the data have that the catalogue does not.
A difference is a question, not a fix: both lag behind the vendor's own page by weeks. With ``--write`` it renews
gateway/list_prices.json, the price data that the wheel ships for models no catalogue names.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from gateway.config.catalogue import load_catalogue
from gateway.config.list_prices import FILE
from gateway.config.upstream_schema import PriceSection, TargetSection
from gateway.core.types import FACTOR_UNIT, NANO_PER_USD
from scripts.price_data import FIELDS, PACKAGE, Listed, as_file, decimal_text, installed_version, listed_models

PATH = Path(__file__).parents[1] / "gateway" / FILE
RESOLD = frozenset({"piapi"})
"""Upstreams with prices of their own, which no vendor's list can confirm."""

MAIN_VENDOR = "openai"
"""The backup's: the data's models of it that the catalogue lacks are listed."""

_FALLBACKS = {
    "cached_input": "input",
    "cache_write": "input",
    "image_input": "input",
    "audio_input": "input",
    "image_output": "output",
    "audio_output": "output",
}
"""Field → what it counts as where it is left out."""

_NONE = "-"


@dataclass(frozen=True)
class Difference:
    """A field of a row on which catalogue and data differ, as text; ``since``: when theirs began, if told.

    ``claims``: the row says that it is from these very data.
    """

    model: str
    upstream: str
    field: str
    ours: str
    theirs: str
    since: str
    source: str
    as_of: str
    claims: bool


def differences(listed: Mapping[tuple[str, str], Listed], as_of: str) -> list[Difference]:
    """Every difference, in the catalogue's order.

    ``as_of``: the day of the data.
    """
    by_name = {name: one for one in listed.values() for name in (one.model, *one.names)}
    found: dict[tuple[str, str, str], Difference] = {}
    for model, target in _listed_targets():
        name = target.model or model
        claims = PACKAGE in (target.source or "") and (
            target.as_of == as_of or installed_version() in (target.source or "")
        )
        theirs = by_name.get(name)
        if theirs is None and not claims:
            continue
        fields = [("model", name, _NONE)] if theirs is None else list(_fields(target.price, theirs.row))
        since = theirs.since.isoformat() if theirs is not None and theirs.since is not None else ""
        for field, ours, they in fields:
            found.setdefault(
                (target.upstream, name, field),
                Difference(
                    name, target.upstream, field, ours, they, since, target.source or "", target.as_of or "", claims
                ),
            )
    return list(found.values())


def missing(listed: Mapping[tuple[str, str], Listed]) -> list[Listed]:
    """The models of the main vendor that the catalogue has under none of their names."""
    ours = {target.model or model for model, target in _listed_targets()} | load_catalogue().models.keys()
    return [
        one
        for (vendor, _), one in sorted(listed.items())
        if vendor == MAIN_VENDOR and not {*one.names, one.model} & ours
    ]


def shipped() -> dict[str, Any]:
    """The head of the shipped file: source, version, as_of, licence; empty without one."""
    return json.loads(PATH.read_text(encoding="utf-8")) if PATH.exists() else {}


def _listed_targets() -> Iterator[tuple[str, TargetSection]]:
    """Model and target of every row that is billed by tokens at a list price."""
    for model, section in load_catalogue().models.items():
        for target in section.targets:
            if target.upstream not in RESOLD and target.operation in ("chat", "images"):
                yield model, target


def _fields(price: PriceSection | None, row: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Field, ours, theirs, where they differ. What the data do not say is no difference."""
    ours = _our_row(price)
    for field in (*FIELDS, "call"):
        they, mine = row.get(field), ours.get(field)
        if they is None and field in _FALLBACKS and mine is not None:
            they = row.get(_FALLBACKS[field])
        if mine is None and field in _FALLBACKS:
            mine = ours.get(_FALLBACKS[field])
        if they is not None and they != mine:
            yield field, _text(mine), _text(they)
    if row.get("long") != ours.get("long") and (row.get("long") or ours.get("long")):
        yield "long", _text(ours.get("long")), _text(row.get("long"))
    for tier, times in row.get("tiers", {}).items():
        if ours["tiers"].get(tier) != times:
            yield f"tiers.{tier}", _text(ours["tiers"].get(tier)), _text(times)


def _our_row(price: PriceSection | None) -> dict[str, Any]:
    """A price of the catalogue in the shape of the data."""
    if price is None:
        return {"tiers": {}}
    row: dict[str, Any] = {
        field: Decimal(amount) / NANO_PER_USD
        for field in (*FIELDS, "call")
        if (amount := getattr(price, field)) is not None
    }
    row["tiers"] = {tier: Decimal(factor) / FACTOR_UNIT for tier, factor in price.tiers.items()}
    if (long := price.long) is not None:
        row["long"] = {
            "above": long.above,
            "input": Decimal(long.input or FACTOR_UNIT) / FACTOR_UNIT,
            "output": Decimal(long.output or FACTOR_UNIT) / FACTOR_UNIT,
        }
    return row


def _text(value: Any) -> str:
    if value is None:
        return _NONE
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(each)}" for name, each in value.items())
    return decimal_text(value) if isinstance(value, Decimal) else str(value)


_COLUMNS = ("model", "upstream", "field", "ours", "theirs", "since", "as_of", "source")


def table(found: list[Difference], *, markdown: bool = False) -> str:
    """The differences, a line each."""
    rows = [_COLUMNS, *(tuple(str(getattr(one, name)) for name in _COLUMNS) for one in found)]
    if markdown:
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        return "\n".join([lines[0], "|" + "---|" * len(_COLUMNS), *lines[1:]])
    widths = [max(len(row[place]) for row in rows) for place in range(len(_COLUMNS))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def report(listed: Mapping[tuple[str, str], Listed], as_of: str, *, markdown: bool = False) -> str:
    """What a person reads: the differences, and the models that the catalogue lacks."""
    found, lacking = differences(listed, as_of), missing(listed)
    head = f"{PACKAGE} {installed_version()} ({as_of}) against gateway/catalogue.yaml, US dollars per 1M tokens"
    lines = [f"## {head}" if markdown else head, ""]
    lines += [table(found, markdown=markdown) if found else "No difference.", ""]
    lines.append(f"{len(lacking)} models of {MAIN_VENDOR} that the catalogue does not name:")
    for one in lacking:
        amounts = ", ".join(f"{name} {_text(one.row[name])}" for name in FIELDS if name in one.row)
        lines.append(f"{'- ' if markdown else '  '}{one.model}: {amounts}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Print, and write if asked to. 0, or 2 if it cannot write because the day of the data is not known."""
    parser = argparse.ArgumentParser(prog="python -m scripts.prices", description=__doc__.split("\n\n")[0])
    parser.add_argument("--format", choices=("table", "markdown", "json"), default="table", help="default: table")
    parser.add_argument("--write", action="store_true", help=f"renew gateway/{FILE} from the installed data")
    parser.add_argument(
        "--as-of",
        type=date.fromisoformat,
        metavar="YYYY-MM-DD",
        help="the day on which the installed version was published (as its page on the package index says); "
        f"default: what gateway/{FILE} says, if that is of the same version",
    )
    options = parser.parse_args(arguments)
    head = shipped()
    known = date.fromisoformat(head["as_of"]) if head.get("version") == installed_version() else None
    day = options.as_of or known
    if day is None and options.write:
        print(
            f"gateway/{FILE} is of {PACKAGE} {head.get('version', '(none)')}, installed is {installed_version()}: "
            "say with --as-of when that was published",
            file=sys.stderr,
        )
        return 2
    day = day or date.today()
    listed = listed_models(day)
    if options.format == "json":
        found = [asdict(one) for one in differences(listed, day.isoformat())]
        print(json.dumps({"differences": found, "missing": [one.model for one in missing(listed)]}, indent=1))
    else:
        print(report(listed, day.isoformat(), markdown=options.format == "markdown"))
    if options.write:
        PATH.write_text(as_file(listed, day), encoding="utf-8")
        print(f"wrote {PATH}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
