"""What genai-prices knows, in the shape of our price fields. Amounts are Decimals of US dollars per 1M tokens.

genai-prices (MIT, https://github.com/pydantic/genai-prices) is a development dependency: nothing of it runs in the
gateway. It holds more than is carried over: prices by the hour, by the page, by the character.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from importlib.metadata import version
from typing import Any

from genai_prices import data
from genai_prices.types import (
    ClauseContains,
    ClauseEndsWith,
    ClauseEquals,
    ClauseOr,
    ClauseStartsWith,
    ConditionalPrice,
    MatchLogic,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    TieredPrices,
)

PACKAGE = "genai-prices"
LICENCE = (
    "Made from the data of genai-prices (https://github.com/pydantic/genai-prices), MIT License, "
    "Copyright (c) Pydantic Services Inc. 2025 to present. Permission is hereby granted, free of charge, to any person "
    "obtaining a copy of this software and associated documentation files (the 'Software'), to deal in the Software "
    "without restriction, including without limitation the rights to use, copy, modify, merge, publish, distribute, "
    "sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, "
    "subject to the following conditions: The above copyright notice and this permission notice shall be included in "
    "all copies or substantial portions of the Software. THE SOFTWARE IS PROVIDED 'AS IS', WITHOUT WARRANTY OF ANY "
    "KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A "
    "PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY "
    "CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR "
    "IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE."
)

VENDORS = ("openai", "anthropic", "google", "x-ai", "deepseek", "mistral")
"""The vendors whose models are shipped, by genai-prices' names."""

PREFIXES = {
    "openai": "openai",
    "anthropic": "anthropic",
    "google": "google",
    "gemini": "google",
    "models": "google",  # Google's own names are models/gemini-…
    "xai": "x-ai",
    "x-ai": "x-ai",
    "deepseek": "deepseek",
    "mistral": "mistral",
    "mistralai": "mistral",
}
"""What may stand before a model's name and a slash → the vendor."""

FIELDS = {
    "input": "input_mtok",
    "cached_input": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "output": "output_mtok",
    "image_input": "input_image_mtok",
    "image_output": "output_image_mtok",
    "audio_input": "input_audio_mtok",
    "audio_output": "output_audio_mtok",
}
"""Our field → genai-prices'."""

_HOSTED_ELSEWHERE = {"google": "claude"}
"""Vendor → how models begin that it only hosts; their own vendor has them."""

_THOUSAND = Decimal(1000)

Row = dict[str, Any]


@dataclass(frozen=True)
class Listed:
    """A model of the data. ``row``: our fields; ``names``: all it goes by; ``since``: when the price began, if told."""

    vendor: str
    model: str
    row: Row
    names: tuple[str, ...]
    since: date | None


def installed_version() -> str:
    """The version of the data."""
    return version(PACKAGE)


def listed_models(day: date) -> dict[tuple[str, str], Listed]:
    """Vendor and model → the model, of all that are billed by tokens.

    ``day``: a price that changed before it counts no more; of those in force on it and announced for later, the dearest
    does, field by field, as does the dearest hour of a day.
    """
    found = {}
    for provider in _providers():
        for model in provider.models:
            if model.id.startswith(_HOSTED_ELSEWHERE.get(provider.id, "\0")):
                continue
            prices, since = _in_force(model, day)
            row = _dearest([_row(price) for price in prices])
            if not row.get("input"):
                continue
            if tiers := _tiers(model, prices[0]):
                row["tiers"] = tiers
            if model.context_window:
                row["context"] = model.context_window
            found[provider.id, model.id] = Listed(provider.id, model.id, row, tuple(_names(provider, model)), since)
    return found


def as_file(listed: Mapping[tuple[str, str], Listed], day: date) -> str:
    """The text of gateway/list_prices.json: a line a model, so that a change can be read.

    It holds what can answer a chat: whose output has a price, too.
    """
    models: dict[str, Row] = {vendor: {} for vendor in VENDORS}
    names: dict[str, dict[str, str]] = {vendor: {} for vendor in VENDORS}
    for (vendor, model), one in sorted(listed.items()):
        if not one.row.get("output"):
            continue
        models[vendor][model] = one.row
        names[vendor] |= {name: model for name in one.names if name != model}
    head = {"source": PACKAGE, "version": installed_version(), "as_of": day.isoformat(), "licence": LICENCE}
    lines = [f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}," for key, value in head.items()]
    lines.append(f' "prefixes": {json.dumps(PREFIXES)},')
    lines += [' "models": {', *_lines(models), " },", ' "names": {', *_lines(names), " }"]
    return "\n".join(["{", *lines, "}"]) + "\n"


def _lines(vendors: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for place, (vendor, entries) in enumerate(vendors.items()):
        yield f"  {json.dumps(vendor)}: {{"
        for number, (name, value) in enumerate(sorted(entries.items())):
            yield f"   {json.dumps(name)}: {_compact(value)}{',' if number < len(entries) - 1 else ''}"
        yield f"  }}{',' if place < len(vendors) - 1 else ''}"


def _compact(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {_compact(each)}" for key, each in value.items()) + "}"
    return decimal_text(value) if isinstance(value, Decimal) else json.dumps(value)


def decimal_text(amount: Decimal) -> str:
    """Without an exponent and without trailing zeros."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _providers() -> Iterator[Provider]:
    by_id = {provider.id: provider for provider in data.providers}
    yield from (by_id[vendor] for vendor in VENDORS)


def _in_force(model: ModelInfo, day: date) -> tuple[list[ModelPrice], date | None]:
    """The prices in force on a day, the standing one first, and those that come later; when the standing one began."""
    if not isinstance(model.prices, list):
        return [model.prices], None
    standing: ConditionalPrice = model.prices[0]
    others = []
    for conditional in model.prices:
        starts = conditional.constraint
        if starts is None or (isinstance(starts, StartDateConstraint) and starts.start_date <= day):
            standing, others = conditional, []  # what is listed later has the last word, hours of the day included
        else:
            others.append(conditional.prices)
    begun = standing.constraint
    return [standing.prices, *others], begun.start_date if isinstance(begun, StartDateConstraint) else None


def _row(price: ModelPrice) -> Row:
    """One price in our fields. Of several steps of length the first begins the surcharge, the dearest sets it."""
    row: Row = {}
    factors: dict[str, Decimal] = {"input": Decimal(1), "output": Decimal(1)}
    above: list[int] = []
    for ours, theirs in FIELDS.items():
        amount = getattr(price, theirs)
        if amount is None:
            continue
        if isinstance(amount, TieredPrices):
            side = "output" if ours.endswith("output") else "input"
            above += [step.start for step in amount.tiers]
            factors[side] = max(factors[side], *(_times(step.price, amount.base) for step in amount.tiers))
            amount = amount.base
        row[ours] = amount
    if above:
        row["long"] = {"above": min(above), **factors}
    if price.web_searches_kcount is not None:
        row["call"] = Decimal(str(_base(price.web_searches_kcount))) / _THOUSAND
    return row


def _dearest(rows: list[Row]) -> Row:
    """Field by field the highest of several rows."""
    found = dict(rows[0])
    for row in rows[1:]:
        for name, value in row.items():
            if name == "long":
                found.setdefault("long", value)
            else:
                found[name] = max(found.get(name, value), value)
    return found


def _tiers(model: ModelInfo, standing: ModelPrice) -> dict[str, Decimal]:
    """Service tier → how many times all tokens cost, by the field that grows most."""
    found: dict[str, Decimal] = {}
    for variant in model.price_variants or ():
        if set(variant.when) != {"service_tier"} or variant.when["service_tier"] in ("default", "auto"):
            continue
        times = [
            _times(_base(tiered), _base(plain))
            for theirs in FIELDS.values()
            if (tiered := getattr(variant.prices, theirs)) is not None
            and (plain := getattr(standing, theirs)) is not None
            and _base(plain)
        ]
        if times:
            found[variant.when["service_tier"]] = max(times)
    return found


def _base(amount: Decimal | TieredPrices) -> Decimal:
    return amount.base if isinstance(amount, TieredPrices) else amount


def _times(dearer: Decimal, base: Decimal) -> Decimal:
    """How many times ``base`` the other is, rounded up to thousandths."""
    return (dearer / base * _THOUSAND).to_integral_value("ROUND_CEILING") / _THOUSAND if base else Decimal(1)


def _names(provider: Provider, model: ModelInfo) -> Iterator[str]:
    """The names by which the data find just this model, in lower case and without a vendor's prefix."""
    texts = {model.id, *_texts(model.match)}
    for text in sorted({text.lower().rstrip("-@") for text in texts if "/" not in text}):
        found = provider.find_model(text)
        if found is model or text == model.id:
            yield text


def _texts(match: MatchLogic) -> Iterator[str]:
    if isinstance(match, ClauseOr):
        for one in match.or_:
            yield from _texts(one)
    elif isinstance(match, ClauseEquals):
        yield match.equals
    elif isinstance(match, ClauseStartsWith):
        yield match.starts_with
    elif isinstance(match, ClauseEndsWith):
        yield match.ends_with
    elif isinstance(match, ClauseContains):
        yield match.contains
