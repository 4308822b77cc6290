"""Service tiers: how many times the usual price tokens cost in one.

The answer's own word counts, since a provider may serve a request in another tier than it asked for; an answer that
says nothing counts as what was asked for. Factors are whole thousandths.
"""

from __future__ import annotations

from gateway.core.billing_terms import USUAL_TIERS, Asked, Terms, named_tier
from gateway.core.types import FACTOR_UNIT, Price

TIERS = frozenset({"flex", "batch", "fast", "priority", "scale", "ultrafast"})
"""The names in use today beside the usual one's; an upstream may say anything."""

_RENAMED = {"fast": "priority", "priority": "fast"}
"""OpenAI called its fast tier ``priority`` until 2026-07-30, and answers either name whichever was asked for."""


def billed_tier(terms: Terms) -> str | None:
    """The tier that an answer is billed by, in lower case; None for the usual one."""
    if terms.tier is None and terms.asked_tier is None:
        return None
    named = named_tier(terms.tier)
    tier = named_tier(terms.asked_tier) if named is None else named
    return None if tier in USUAL_TIERS else tier


def tier_factor(price: Price, terms: Terms) -> tuple[int, bool]:
    """How many times the price applies, and whether that is known.

    A tier that the price does not list costs as the dearest that it lists; where it lists none, as the usual one.
    """
    tier = billed_tier(terms)
    if tier is None:
        return FACTOR_UNIT, True
    listed = price.listed_tiers
    for name in (tier, _RENAMED.get(tier)):
        if name in listed:
            return listed[name], True
    return max(FACTOR_UNIT, *listed.values()) if listed else FACTOR_UNIT, False


def most_tier_factor(price: Price, asked: Asked) -> int:
    """How many times the price applies at most in any tier that a request may be served in.

    A tier that was asked for may be served in the usual one. A request that leaves the choice open may get what the
    account's settings say, which at OpenAI can be the fast tier, but none that must be asked for by name.
    """
    if not price.tiers:
        return FACTOR_UNIT
    listed = price.listed_tiers
    tier = named_tier(asked.tier)
    if tier in USUAL_TIERS:
        return FACTOR_UNIT
    names = ("fast", "priority") if tier is None else (tier, _RENAMED.get(tier))
    factors = [listed[name] for name in names if name in listed]
    if tier is not None and not factors:
        factors = [*listed.values()]
    return max([FACTOR_UNIT, *factors])
