"""The lines of configuration that give a model a price: what a refusal for want of one tells the operator to add."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from gateway.core.pricing.prices import format_usd
from gateway.core.pricing.unit_amounts import says_all, usual_fields
from gateway.core.types import Price, Route, Target

SuggestedPrice = Callable[[Target], Price | None]
"""What a target's model probably costs there, as far as it is known."""

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9._/-]*")
"""What YAML reads as text without quotes, but for these words."""

_NO_TEXT = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})

_FIELDS = (
    *("input", "cached_input", "cache_write", "output", "image_input", "image", "no_image", "characters", "seconds"),
)
"""The fields of a price that are told; the rest can wait."""


def no_suggestion(target: Target) -> None:
    """The ``SuggestedPrice`` of who has no price data."""


def price_lines(route: Route, suggested: SuggestedPrice = no_suggestion) -> str:
    """The entry under ``models:`` that gives every target of a route a price; a ``…`` stands for what is not known.

    A target that has its price keeps it, without a word. One of an upstream that has no key is not in ``route``.
    """
    targets = ", ".join(_target(route, target, suggested) for target in route.targets)
    return f"models:\n  {yaml_text(route.named)}: {{targets: [{targets}]}}"


def _target(route: Route, target: Target, suggested: SuggestedPrice) -> str:
    members = [f"upstream: {yaml_text(target.upstream.name)}"]
    if target.model != route.named:
        members.append(f"model: {yaml_text(target.model)}")
    if target.operation != "chat":
        members.append(f"operation: {target.operation}")
    needed = usual_fields(target.operation)
    known = _amounts(target.price)
    told = target.price is not None and says_all(target.price, target.operation)
    if not (told or "image" in known or all(name in known for name in ("input", "output"))):
        known = _amounts(suggested(target)) | known
        fields = [f"{name}: {known.get(name, '…')}" for name in dict.fromkeys((*needed, *known))]
        members.append(f"price: {{{', '.join(fields)}}}")
    return f"{{{', '.join(members)}}}"


def _amounts(price: Price | None) -> dict[str, str]:
    """What is known of a price, under the names of the configuration, in US dollars."""
    amounts = {name: getattr(price, name, None) for name in _FIELDS}
    return {name: format_usd(amount) for name, amount in amounts.items() if amount is not None}


def yaml_text(name: str) -> str:
    """A name that clients may have made up, as YAML takes it and a terminal bears it."""
    plain = _PLAIN.fullmatch(name) is not None and name.lower() not in _NO_TEXT
    return name if plain else json.dumps(name, ensure_ascii=not name.isprintable())
